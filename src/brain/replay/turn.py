"""A whole turn again: the agent loop of here and now, with the model's messages and the tools'
answers taken from the record.

Nothing outside is touched: the model is a script, each tool gives its recorded answer, permissions
are answered as they were, and the brain is a new file that is thrown away.
"""

import tempfile
from collections import defaultdict, deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, get_args

import msgspec
import trio
from msgspec import structs

from ...actors import ActorError
from ...config import load_engine_config
from ...errors import SeptemberError
from ..agent import transcript
from ..agent.delegation import tool_name
from ..agent.nested_records import unstored_text
from ..agent.request import TurnRequest
from ..agent.tools import Tool, Toolbox, ToolContext, ToolOutput
from ..catalog import Catalog
from ..channels.events import JsonObject
from ..conversations import show
from ..coordinator.coordinator import CancelTask, StartTurn
from ..herald.conversation import (
    Block,
    ChatMessage,
    TextBlock,
    ThinkingBlock,
    ToolDef,
    ToolResultBlock,
    ToolUseBlock,
)
from ..herald.scripted_rules import FaultName
from ..hitl import ListPending, Respond
from ..tree import Engine, running_engine
from .cut import CANCELLED, Cut, was_cut
from .record import RecordedTurn

TASK: Final = "replay"
PATIENCE_S: Final = 60.0
_POLL_S: Final = 0.02
_BEFORE_FAULT_S: Final = 0.05
_TEXT: Final = 200
_AGENT: Final = tool_name("")
_CUT: Final = ToolOutput("", CANCELLED)
"""Stands for the answer of a call that was under way when the cancel came."""


class TurnReplay(msgspec.Struct, frozen=True):
    """The steps as they were and as they are now, and the first place where they differ."""

    recorded: tuple[str, ...]
    now: tuple[str, ...]

    @property
    def difference(self) -> tuple[int, str, str] | None:
        """Number of the step (from 1), what it was, what it is; None if all are the same."""
        longest = max(len(self.recorded), len(self.now))
        for place in range(longest):
            before = self.recorded[place] if place < len(self.recorded) else "nothing"
            after = self.now[place] if place < len(self.now) else "nothing"
            if before != after:
                return place + 1, before, after
        return None


async def replay_turn(turn: RecordedTurn, catalog: Catalog) -> TurnReplay:
    """Run the turn again. Raises INVALID_REQUEST if the script cannot play what happened."""
    if turn.fault is not None and turn.fault not in get_args(FaultName):
        raise SeptemberError(
            "INVALID_REQUEST",
            f"{turn.turn_id} cannot be replayed: the script cannot fail with {turn.fault!r}",
            {"turn_id": turn.turn_id},
        )
    tools = RecordedTools(turn)
    with tempfile.TemporaryDirectory(prefix="replay-") as folder:
        config = load_engine_config(_settings(Path(folder), turn))
        lent = _lent(catalog, turn.agent, tools.names)
        async with running_engine(config, lent, answering=tools.over) as engine:
            messages, ending = await _run(engine, turn.request, tools)
    recorded = steps(turn.messages, turn.ending)
    return TurnReplay(tuple(recorded), tuple(steps(messages, ending)))


def _lent(catalog: Catalog, name: str, tools: frozenset[str]) -> Catalog:
    """The catalog with an agent that has every tool that its turn called."""
    agent = catalog.agents.get(name)
    if agent is None:
        raise SeptemberError(
            "AGENT_NOT_FOUND", f"the catalog has no agent {name!r} any more; set CATALOG_DIR"
        )
    more = tuple(sorted(tools - set(agent.tools)))
    agents = {**catalog.agents, name: structs.replace(agent, tools=(*agent.tools, *more))}
    return structs.replace(catalog, agents=agents)


def _settings(folder: Path, turn: RecordedTurn) -> dict[str, str]:
    script = folder / "script.json"
    # What sub-agents answered is in the record, as of any tool: they are not to run again.
    delegates = any(name.startswith(_AGENT) for name in _called(turn))
    script.write_bytes(msgspec.json.encode({"rule": _rules(turn)}))
    return {
        "ENGINE_API_KEY": "replay",
        "LLM_PROVIDER": "scripted",
        "SCRIPTED_RULES": str(script),
        "SQLITE_DB_PATH": str(folder / "brain.sqlite"),
        "SANDBOX_MODE": "none",
        **({"SUB_AGENT_DEPTH": "0"} if delegates else {}),
    }


def _rules(turn: RecordedTurn) -> list[JsonObject]:
    """One rule for each model message, then how the call after them failed."""
    said = [message for message in turn.messages if message.role == "assistant"]
    steps = [[step for block in one.blocks for step in _step(block)] for one in said]
    if turn.fault is not None:
        half_told = turn.shown and bool(said) and turn.messages[-1].role == "assistant"
        if not half_told:  # what the model had said of it, if anything, is not in the transcript
            steps.append([])
        # What was shown before the fault was committed before it, too: leave time for that.
        steps[-1].extend(({"wait_s": _BEFORE_FAULT_S}, {"fault": turn.fault}))
    elif turn.ending == CANCELLED:
        if turn.messages[-1].role != "assistant":
            steps.append([])
        steps[-1].append({"wait_s": PATIENCE_S})
    return [{"step": number, "steps": one} for number, one in enumerate(steps)]


def _step(block: Block) -> list[JsonObject]:
    match block:
        case TextBlock(text):
            return [{"text": text}]
        case ThinkingBlock(text=text) if text:
            return [{"thinking": text}]
        case ToolUseBlock(name=name, input=arguments):
            return [{"tool": name, "input": arguments}]
        case _:
            return []


class RecordedTools:
    """Gives each tool call the answer that the same call had, in the order of the record."""

    def __init__(self, turn: RecordedTurn) -> None:
        self._answers: defaultdict[str, deque[ToolOutput]] = defaultdict(deque)
        self.told: set[str] = set()
        """The requests for a person that have been seen."""
        self.cut = Cut(turn)
        calls = {
            block.id: block
            for message in turn.messages
            for block in message.blocks
            if isinstance(block, ToolUseBlock)
        }
        self.names = _called(turn)
        for message in turn.messages:
            for block in message.blocks:
                if isinstance(block, ToolResultBlock) and block.tool_use_id in calls:
                    self._keep(calls[block.tool_use_id], block, turn.errors)

    def _keep(self, call: ToolUseBlock, result: ToolResultBlock, errors: dict[str, str]) -> None:
        error = errors.get(call.id, "failed") if result.is_error else None
        text = result.content.removeprefix(f"{error}: ")
        answer = ToolOutput(text, error)
        if self.cut.wanted and was_cut(result):
            answer = _CUT
        self._answers[_key(call.name, call.input)].append(answer)

    def is_allowed(self, name: str | None, arguments: JsonObject | None) -> bool | None:
        """Whether a person allowed this call; None if the cancel came before the answer."""
        waiting = self._answers[_key(name or "", arguments or {})]
        if waiting and waiting[0] is _CUT:
            self.cut.is_near.set()
            return None
        if waiting and waiting[0].error == "permission_denied":
            waiting.popleft()  # it will not be run
            return False
        return True

    def over(self, tools: Toolbox) -> Toolbox:
        """The same tools, and those of connectors that were called, with recorded answers."""
        unknown = {
            name: Tool(ToolDef(name, "from a connector", {"type": "object"}), _unreachable)
            for name in self.names - set(tools)
        }
        return {
            name: structs.replace(tool, run=partial(self._answer, name))
            for name, tool in {**tools, **unknown}.items()
        }

    async def _answer(self, name: str, arguments: JsonObject, context: ToolContext) -> ToolOutput:
        await trio.lowlevel.checkpoint()
        waiting = self._answers[_key(name, arguments)]
        if waiting and waiting[0] is _CUT:
            self.cut.is_near.set()
            await trio.sleep_forever()
        if waiting:
            return waiting.popleft()
        return ToolOutput(f"the record has no such call of {name}", "not_recorded")


def _called(turn: RecordedTurn) -> frozenset[str]:
    """The tools that were called and that there were."""
    return frozenset(
        block.name
        for message in turn.messages
        for block in message.blocks
        if isinstance(block, ToolUseBlock) and turn.errors.get(block.id) != "unknown_tool"
    )


async def _unreachable(arguments: JsonObject, context: ToolContext) -> ToolOutput:
    raise AssertionError("a recorded answer stands in for it")


def _key(name: str, arguments: JsonObject) -> str:
    return f"{name} {msgspec.json.encode(arguments, order='sorted').decode()}"


async def _run(
    engine: Engine, request: TurnRequest, tools: RecordedTools
) -> tuple[list[ChatMessage], str]:
    accepted = await engine.coordinator.call(StartTurn(TASK, request))
    if isinstance(accepted, SeptemberError):
        raise accepted
    with trio.move_on_after(PATIENCE_S):
        while (ending := await _status(engine)) in ("queued", "running", "waiting"):
            if await _is_cut_here(engine, tools.cut):
                await engine.coordinator.call(CancelTask(TASK))
            await _answer_as_then(engine, tools)
            await trio.sleep(_POLL_S)
        _, stored = await engine.database.read(partial(show, task_id=TASK))
        return [one.message for one in stored], ending
    raise SeptemberError("INTERNAL", f"the replayed turn did not end within {PATIENCE_S:.0f} s")


async def _status(engine: Engine) -> str:
    row = await engine.database.read(
        lambda db: db.execute("SELECT status FROM turns WHERE task_id = ?", (TASK,)).fetchone()
    )
    return str(row[0]) if row is not None else "queued"


async def _is_cut_here(engine: Engine, cut: Cut) -> bool:
    stored = await engine.database.read(partial(transcript.load, task_id=TASK))
    if not stored or not cut.wanted:
        return False
    turn_id = stored[-1].turn_id
    shown = await engine.database.read(partial(unstored_text, turn_id=turn_id, path=None))
    return cut.is_here(len(stored), shown)


async def _answer_as_then(engine: Engine, tools: RecordedTools) -> None:
    """Say yes where the tool ran then, no where it was denied, nothing where nobody did."""
    for one in await engine.approvals.call(ListPending()):
        if one.request_id in tools.told:
            continue
        allowed = tools.is_allowed(one.tool, one.input)
        tools.told.add(one.request_id)
        if allowed is not None:
            with suppress(ActorError):
                answer = "yes" if allowed else "no"
                await engine.approvals.call(Respond(TASK, answer, one.request_id))


def steps(messages: Sequence[ChatMessage], ending: str) -> list[str]:
    """A turn as lines that compare: what the model said and called, what it was answered."""
    names: dict[str, str] = {}
    lines: list[str] = []
    for message in messages:
        for block in message.blocks:
            match block:
                case TextBlock(text):
                    lines.append(f"{message.role}: {text[:_TEXT]}")
                case ToolUseBlock(call_id, name, arguments):
                    names[call_id] = _key(name, arguments)
                    lines.append(f"calls {names[call_id]}")
                case ToolResultBlock():
                    mark = "fails" if block.is_error else "answers"
                    call = names.get(block.tool_use_id, block.name)
                    lines.append(f"{call} {mark}: {block.content[:_TEXT]}")
                case _:
                    pass
    return [*lines, f"ends {ending}"]
