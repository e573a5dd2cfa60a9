"""OpenAI's chat completions on the wire: our request as its body, its stream as our pieces.

Compatible servers (vLLM, llama.cpp, Ollama, DeepSeek, OpenRouter) speak it too; where they differ
from OpenAI the comment says so.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import cast

from ..channels.events import JsonObject
from .assembly import Assembly, Draft
from .attachments import in_place_of
from .conversation import (
    AudioBlock,
    Base64Source,
    BlockType,
    ChatMessage,
    Finished,
    ImageBlock,
    MediaBlock,
    ModelRequest,
    Piece,
    StopReason,
    TextBlock,
    TextPiece,
    ThinkingBlock,
    ThinkingPiece,
    TokenUsage,
    ToolDef,
    ToolResultBlock,
    ToolUseBlock,
    UrlSource,
)
from .naming import ToolNames
from .openai_events import CallFragment, Chunk, Delta, PromptDetails, Usage
from .tool_schema import object_schema
from .transcript import repaired

PROVIDER = "openai"

# --- request translation ----------------------------------------------------------------------


_NO_REASONING = re.compile(r"(gpt-(3|4)|chatgpt-)")
"""OpenAI's models from before `reasoning_effort`: they refuse the field."""


def translate(request: ModelRequest, names: ToolNames, *, official: bool) -> JsonObject:
    """The body of `POST /chat/completions`.

    OpenAI itself wants `max_completion_tokens`; compatible servers know `max_tokens`.
    """
    body: JsonObject = {
        "model": request.model,
        "messages": [*_system(request), *_messages(request.messages, names)],
        "max_completion_tokens" if official else "max_tokens": request.max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.tools:
        body["tools"] = [_tool(tool, names) for tool in request.tools]
    if request.thinking and not _NO_REASONING.match(request.model):
        body["reasoning_effort"] = "high"
    if request.response_schema is not None:
        body["response_format"] = _response_format(request.response_schema)
    return body


def _system(request: ModelRequest) -> list[JsonObject]:
    text = "\n\n".join(part.text for part in request.system if part.text.strip())
    return [{"role": "system", "content": text}] if text else []


def _messages(messages: Iterable[ChatMessage], names: ToolNames) -> list[JsonObject]:
    whole = repaired(messages, PROVIDER)
    turn = max(index for index, message in enumerate(whole) if _is_said_by_user(message))
    wire: list[JsonObject] = []
    for index, message in enumerate(whole):
        if message.role == "user":
            wire.extend(_user(message))
        else:
            wire.append(_assistant(message, names, with_reasoning=index > turn))
    return wire


def _is_said_by_user(message: ChatMessage) -> bool:
    return message.role == "user" and not isinstance(message.blocks[0], ToolResultBlock)


def _user(message: ChatMessage) -> Iterable[JsonObject]:
    parts: list[JsonObject] = []
    for block in message.blocks:
        match block:
            case ToolResultBlock():
                yield _tool_result(block)
            case TextBlock(text):
                parts.append({"type": "text", "text": text})
            case ThinkingBlock() | ToolUseBlock():
                pass
            case _:
                parts.append(_media(block))
    if len(parts) == 1 and parts[0]["type"] == "text":
        yield {"role": "user", "content": parts[0]["text"]}
    elif parts:
        yield {"role": "user", "content": parts}


def _tool_result(block: ToolResultBlock) -> JsonObject:
    """There is no error flag on this wire, so the text says it."""
    content = f"Error: {block.content}" if block.is_error else block.content
    return {"role": "tool", "tool_call_id": block.tool_use_id, "content": content}


def _media(block: MediaBlock) -> JsonObject:
    match block:
        case ImageBlock(Base64Source(media_type, data)):
            return _image(f"data:{media_type};base64,{data}")
        case ImageBlock(UrlSource(url)):
            return _image(url)
        case AudioBlock(Base64Source(media_type, data)):
            sound = {"data": data, "format": "wav" if media_type == "audio/wav" else "mp3"}
            return {"type": "input_audio", "input_audio": sound}
        case _:
            text = in_place_of(block, "it was not made ready for this model").text
            return {"type": "text", "text": text}


def _image(url: str) -> JsonObject:
    return {"type": "image_url", "image_url": {"url": url}}


def _assistant(message: ChatMessage, names: ToolNames, *, with_reasoning: bool) -> JsonObject:
    """Reasoning goes back only within the running tool loop, under the field it came in.

    DeepSeek and Kimi need it there and refuse or ignore it elsewhere; OpenAI never sends any.
    """
    texts = [block.text for block in message.blocks if isinstance(block, TextBlock)]
    calls = [_call(block, names) for block in message.blocks if isinstance(block, ToolUseBlock)]
    wire: JsonObject = {"role": "assistant", "content": "\n\n".join(texts) or None}
    if calls:
        wire["tool_calls"] = calls
    if with_reasoning:
        for block in message.blocks:
            if isinstance(block, ThinkingBlock) and block.signature in _REASONING_FIELDS:
                wire[block.signature] = block.text
    return wire


def _call(block: ToolUseBlock, names: ToolNames) -> JsonObject:
    function = {"name": names.wire(block.name), "arguments": json.dumps(block.input)}
    return {"id": block.id, "type": "function", "function": function}


def _tool(tool: ToolDef, names: ToolNames) -> JsonObject:
    function: JsonObject = {
        "name": names.wire(tool.name),
        "description": tool.description,
        "parameters": object_schema(tool.input_schema),
    }
    return {"type": "function", "function": function}


def _response_format(schema: JsonObject) -> JsonObject:
    named = {"name": "response", "schema": schema, "strict": _is_strict(schema)}
    return {"type": "json_schema", "json_schema": named}


def _is_strict(schema: object) -> bool:
    """Whether strict mode takes the schema: every object closed, every property required."""
    if isinstance(schema, list):
        return all(map(_is_strict, cast("list[object]", schema)))
    if not isinstance(schema, dict):
        return True
    node = cast("JsonObject", schema)
    if node.get("type") == "object":
        properties = cast("JsonObject", node.get("properties", {}))
        required = cast("Sequence[str]", node.get("required", ()))
        if node.get("additionalProperties") is not False or set(properties) != set(required):
            return False
    return all(map(_is_strict, node.values()))


# --- stream reading ---------------------------------------------------------------------------

_REASONING_FIELDS = ("reasoning_content", "reasoning")
"""Where compatible servers put reasoning: DeepSeek and most others; OpenRouter and newer vLLM."""

_STOP_REASONS: dict[str, StopReason] = {
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "length": "max_tokens",
    "content_filter": "refusal",
}


class OpenAIReader:
    """Reads chunks of one choice: reasoning, content, tool calls by index, then the usage."""

    def __init__(self, request: ModelRequest, names: ToolNames) -> None:
        self._assembly = Assembly(PROVIDER, names)
        self._calls: dict[int, Draft] = {}
        self._model = request.model
        self._usage = TokenUsage()
        self._stop_reason: StopReason = "end_turn"
        self._refused = False
        self._whole = False

    @property
    def whole(self) -> bool:
        """Whether a `finish_reason` came; the usage may still follow."""
        return self._whole

    def feed(self, event: Chunk) -> Iterable[Piece]:
        """The pieces of one chunk; the usage comes in a last one without choices."""
        self._model = event.model or self._model
        if event.usage is not None:
            self._usage = _usage(event.usage)
        for choice in event.choices or ():
            if choice.delta is not None:
                yield from self._delta(choice.delta)
            if choice.finish_reason is not None:
                self._whole = True
                self._stop_reason = _STOP_REASONS.get(choice.finish_reason, "end_turn")
                yield from self._assembly.stop_all()

    def finished(self) -> Finished:
        """The whole message."""
        reason = "refusal" if self._refused else self._stop_reason
        return self._assembly.finished(reason, self._usage, self._model)

    def _delta(self, delta: Delta) -> Iterable[Piece]:
        for field in _REASONING_FIELDS:
            if text := getattr(delta, field):
                yield from self._text("thinking", text, signature=field)
                break
        if delta.content:
            yield from self._text("text", delta.content)
        if delta.refusal:
            self._refused = True
            yield from self._text("text", delta.refusal)
        for fragment in delta.tool_calls or ():
            yield from self._call(fragment)

    def _text(self, block_type: BlockType, text: str, *, signature: str = "") -> Iterable[Piece]:
        draft = self._assembly.last_open(block_type)
        if draft is None:
            yield from self._assembly.stop_all()
            draft, started = self._assembly.start(block_type)
            draft.signature = signature
            yield started
        draft.text.append(text)
        yield ThinkingPiece(text) if block_type == "thinking" else TextPiece(text)

    def _call(self, fragment: CallFragment) -> Iterable[Piece]:
        """Some servers send no index, or index 0 for every call: a new id is a new call then."""
        index = fragment.index or 0
        draft = self._calls.get(index)
        if draft is None or (fragment.id and draft.id and fragment.id != draft.id):
            if not self._calls:
                yield from self._assembly.stop_all()
            draft, started = self._assembly.start("tool_use")
            self._calls[index] = draft
            yield started
        draft.id = draft.id or fragment.id or ""
        if fragment.function is not None:
            draft.name = draft.name or fragment.function.name or ""
            draft.text.append(fragment.function.arguments or "")


def _usage(usage: Usage) -> TokenUsage:
    """`prompt_tokens` holds the cached ones."""
    details = usage.prompt_tokens_details or PromptDetails()
    return TokenUsage(
        input_tokens=usage.prompt_tokens or 0,
        output_tokens=usage.completion_tokens or 0,
        cache_hit_tokens=details.cached_tokens or usage.prompt_cache_hit_tokens or 0,
        cache_write_tokens=details.cache_write_tokens or 0,
    )
