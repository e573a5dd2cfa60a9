"""The scripted provider: answers from rules, and says so. It is no language model.

It drives the first run without a key, and the tests: a conversation goes the same way each time.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from math import inf
from pathlib import Path
from typing import Final, cast
from zlib import crc32

import msgspec
import trio

from ..channels.events import JsonObject
from .arguments import parse_arguments
from .conversation import (
    Block,
    BlockStarted,
    BlockStopped,
    BlockType,
    ChatMessage,
    Finished,
    ModelRequest,
    Piece,
    StopReason,
    TextBlock,
    TextPiece,
    ThinkingBlock,
    ThinkingPiece,
    TokenUsage,
    ToolUseBlock,
)
from .models import SCRIPTED
from .provider import Fault, ProviderError
from .scripted_match import TurnView, Words, fits, last_text, view_of
from .scripted_rules import Rule, Script, Step, load, strings_in

NO_RULE: Final = (
    "This Engine runs on its scripted provider, which is no language model: it only plays "
    'prepared answers, and no rule of "{script}" fits what you wrote. {hint}\n\n'
    "To talk to a real model, set LLM_PROVIDER to anthropic, openai or gemini, LLM_MODEL to one "
    "of its models and LLM_API_KEY to your key (OPENAI_BASE_URL also takes a local server such as "
    "Ollama), and start the Engine again."
)
"""The answer to a request that no rule fits."""


def demonstration() -> Path:
    """The rules that are played without SCRIPTED_RULES: `demo.toml` beside this module."""
    return Path(__file__).with_name("demo.toml")


class ScriptedProvider:
    """Plays a script. How often each rule was used is all it remembers.

    A `stall` becomes a timeout after `idle_s` seconds, as an adapter makes of a silent socket.
    A request of more than `window` tokens (by its own count; 0: any) overflows, as a model's would.
    """

    def __init__(self, script: Script, idle_s: float = 60.0, window: int = 0) -> None:
        self._script = script
        self._window = window
        self._idle_s = idle_s
        self._used = [0] * len(script.rules)

    @classmethod
    def from_file(
        cls, path: Path | None, idle_s: float = 60.0, window: int = 0
    ) -> "ScriptedProvider":
        """Play the rules in `path`, or the demonstration. Raises ConfigError for bad rules."""
        return cls(load(path or demonstration()), idle_s, window)

    @property
    def name(self) -> str:
        """The provider's name in LLM_PROVIDER."""
        return SCRIPTED

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[AsyncIterator[Piece]]:
        """Play the first rule that fits; without one, say what this is (or fill the schema)."""
        view = view_of(request)
        if self._window and prompt_tokens(request) > self._window:
            chosen = _OVERFLOW, _NO_GROUPS
        else:
            chosen = self._choose(view) or (_no_rule(request, self._script), _NO_GROUPS)
        rule, groups = chosen
        performance = _Performance(self._script, rule, request, Words(view, groups))
        return aclosing(_play(performance, self._idle_s))

    async def aclose(self) -> None:
        """Nothing is open."""
        await trio.lowlevel.checkpoint()

    def _choose(self, view: TurnView) -> tuple[Rule, Mapping[str, str]] | None:
        for number, rule in enumerate(self._script.rules):
            groups = fits(rule, view)
            if groups is not None and self._used[number] != rule.times:
                self._used[number] += 1
                return rule, groups
        return None


_NO_GROUPS: Final[Mapping[str, str]] = {}
_OVERFLOW: Final = Rule(steps=(Step(fault="context_overflow"),))


def _no_rule(request: ModelRequest, script: Script) -> Rule:
    text = NO_RULE.format(script=script.name, hint=script.hint)
    if request.response_schema is not None:
        text = msgspec.json.encode(_empty(request.response_schema)).decode()
    return Rule(steps=(Step(text=text.replace("${", "$${")),))


def _empty(schema: JsonObject) -> object:
    """The emptiest value a JSON Schema of plain types allows: a model with nothing to say."""
    options = schema.get("enum")
    if isinstance(options, list) and options:
        return cast("list[object]", options)[0]
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = "null" if "null" in kind else cast("list[object]", kind)[0]
    if kind == "object":
        fields = cast("dict[str, JsonObject]", schema.get("properties", {}))
        required = cast("list[str]", schema.get("required", []))
        return {name: _empty(fields.get(name, {})) for name in required}
    return _EMPTY.get(kind)


_EMPTY: Final[Mapping[object, object]] = {
    "array": [],
    "string": "",
    "boolean": False,
    "integer": 0,
    "number": 0,
}


class _Beat(msgspec.Struct, frozen=True):
    """After `wait_s` seconds comes a piece, a failure, or nothing."""

    wait_s: float = 0.0
    piece: Piece | None = None
    failure: ProviderError | None = None


async def _play(performance: "_Performance", idle_s: float) -> AsyncGenerator[Piece, None]:
    for beat in performance.beats():
        await trio.sleep(idle_s if beat.wait_s == inf else beat.wait_s)
        if beat.wait_s == inf:
            message = f"scripted: silent for {idle_s:g} s"
            raise ProviderError(Fault.TIMEOUT, message, provider=SCRIPTED)
        if beat.failure is not None:
            raise beat.failure
        if beat.piece is not None:
            yield beat.piece


class _Performance:
    """One model message, beat by beat."""

    def __init__(self, script: Script, rule: Rule, request: ModelRequest, words: Words) -> None:
        self._script = script
        self._rule = rule
        self._request = request
        self._words = words
        self._blocks: list[Block] = []

    def beats(self) -> Iterator[_Beat]:
        """The rule's steps in order, then the whole message."""
        for step in self._rule.steps:
            yield from self._beats_of(step)
        message = ChatMessage("assistant", tuple(self._blocks))
        model = f"scripted:{self._script.name} (no language model)"
        usage = self._rule.usage or self._estimate()
        yield _Beat(piece=Finished(message, self._stop_reason(), usage, model))

    def _beats_of(self, step: Step) -> Iterator[_Beat]:
        if step.wait_s is not None:
            yield _Beat(wait_s=step.wait_s)
        elif step.fault is not None:
            yield _Beat(inf) if step.fault == "stall" else _Beat(failure=_failure(step))
        elif step.thinking is None or self._request.thinking:
            index = len(self._blocks)
            block = self._block(step)
            self._blocks.append(block)
            kind = _block_type(block)
            yield _Beat(piece=BlockStarted(index, kind))
            yield from self._parts(step, block)
            yield _Beat(piece=BlockStopped(index, kind))

    def _block(self, step: Step) -> TextBlock | ThinkingBlock | ToolUseBlock:
        if step.text is not None:
            return TextBlock(self._words.fill(step.text))
        if step.thinking is not None:
            return ThinkingBlock(self._words.fill(step.thinking), SCRIPTED)
        arguments = cast("JsonObject", self._words.fill_all(step.input))
        if step.raw_input is not None:
            arguments = parse_arguments(step.raw_input)
        return ToolUseBlock(self._call_id(), step.tool or "", arguments)

    def _parts(self, step: Step, block: Block) -> Iterator[_Beat]:
        if not isinstance(block, TextBlock | ThinkingBlock):
            return
        piece = TextPiece if isinstance(block, TextBlock) else ThinkingPiece
        size = step.piece_chars or self._script.piece_chars
        delay_ms = self._script.delay_ms if step.delay_ms is None else step.delay_ms
        for start in range(0, len(block.text), size):
            wait_s = delay_ms / 1000 if start else 0.0
            yield _Beat(wait_s, piece(block.text[start : start + size]))

    def _call_id(self) -> str:
        """An id that repeats on a replay and differs between conversations."""
        messages = self._request.messages
        seed = "".join(part.text for part in self._request.system)
        seed += last_text(messages[0]) if messages else ""
        return f"call_{crc32(seed.encode()):08x}_{len(messages)}_{len(self._blocks)}"

    def _stop_reason(self) -> StopReason:
        calls = any(isinstance(block, ToolUseBlock) for block in self._blocks)
        return self._rule.stop_reason or ("tool_use" if calls else "end_turn")

    def _estimate(self) -> TokenUsage:
        """Four characters to a token: an estimate, for nothing here counts real tokens."""
        counted = prompt_tokens(self._request)
        return TokenUsage(input_tokens=counted, output_tokens=_tokens(self._blocks))


def _block_type(block: TextBlock | ThinkingBlock | ToolUseBlock) -> BlockType:
    """The block's name on the wire."""
    if isinstance(block, TextBlock):
        return "text"
    return "thinking" if isinstance(block, ThinkingBlock) else "tool_use"


def prompt_tokens(request: ModelRequest) -> int:
    """What a request takes, as this provider counts."""
    return _tokens((request.system, request.messages))


def _tokens(value: object) -> int:
    return sum(len(text) for text in strings_in(msgspec.to_builtins(value))) // 4


def _failure(step: Step) -> ProviderError:
    fault = Fault(step.fault)
    message = step.message or f"scripted: {fault.value.replace('_', ' ')}"
    return ProviderError(fault, message, provider=SCRIPTED, retry_after=step.retry_after)
