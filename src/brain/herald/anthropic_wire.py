"""Anthropic's Messages API on the wire: our request as its body, its stream as our pieces."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..channels.events import JsonObject
from .anthropic_events import ContentBlock, Delta, StreamEvent, Usage
from .assembly import Assembly, Draft
from .attachments import in_place_of
from .conversation import (
    Base64Source,
    Block,
    BlockType,
    ChatMessage,
    DocumentBlock,
    Finished,
    ImageBlock,
    ModelRequest,
    Piece,
    StopReason,
    StoredSource,
    SystemPart,
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
from .tool_schema import object_schema
from .transcript import repaired

PROVIDER = "anthropic"

# --- request translation ----------------------------------------------------------------------

_BREAKPOINTS = 4
_LEAST_THINKING = 1024
_MODEL = re.compile(r"claude-[a-z]+(?:-(\d{1,2})(?:-(\d{1,2}))?)?(?=-|$)")
_CACHE: JsonObject = {"type": "ephemeral"}


def translate(
    request: ModelRequest, names: ToolNames, closed_schema: Callable[[JsonObject], JsonObject]
) -> JsonObject:
    """The body of `POST /v1/messages`; `closed_schema` is the SDK's own schema transformation."""
    messages = repaired(request.messages, PROVIDER, may_end_thinking=False)
    body: JsonObject = {
        "model": request.model,
        "max_tokens": request.max_tokens,
        "messages": [_message(message, names) for message in messages],
        "stream": True,
    }
    if system := [_text(part.text) for part in request.system if part.text.strip()]:
        body["system"] = system
    body.update(_tools(request, names))
    if request.thinking and (thinking := _thinking(request, messages)):
        body["thinking"] = thinking
    if request.response_schema is not None:
        schema = closed_schema(request.response_schema)
        body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    if request.cache:
        _mark_cache(body, [part for part in request.system if part.text.strip()])
    return body


def _message(message: ChatMessage, names: ToolNames) -> JsonObject:
    blocks = (_block(block, names) for block in message.blocks)
    return {"role": message.role, "content": [block for block in blocks if block]}


def _block(block: Block, names: ToolNames) -> JsonObject | None:
    match block:
        case TextBlock(text):
            return _text(text)
        case ThinkingBlock():
            return _thought(block)
        case ToolUseBlock():
            name = names.wire(block.name)
            return {"type": "tool_use", "id": block.id, "name": name, "input": block.input}
        case ToolResultBlock():
            return _tool_result(block)
        case ImageBlock(source) | DocumentBlock(source) if not isinstance(source, StoredSource):
            return {**_media_head(block), "source": _source(source)}
        case _:
            return _text(in_place_of(block, "it was not made ready for this model").text)


def _media_head(block: ImageBlock | DocumentBlock) -> JsonObject:
    if isinstance(block, ImageBlock):
        return {"type": "image"}
    return {"type": "document", **({"title": block.name} if block.name else {})}


def _source(source: Base64Source | UrlSource) -> JsonObject:
    if isinstance(source, UrlSource):
        return {"type": "url", "url": source.url}
    return {"type": "base64", "media_type": source.media_type, "data": source.data}


def _text(text: str) -> JsonObject:
    return {"type": "text", "text": text}


def _thought(block: ThinkingBlock) -> JsonObject | None:
    if block.redacted:
        return {"type": "redacted_thinking", "data": block.redacted}
    if block.signature:
        return {"type": "thinking", "thinking": block.text, "signature": block.signature}
    return None


def _tool_result(block: ToolResultBlock) -> JsonObject:
    result: JsonObject = {
        "type": "tool_result",
        "tool_use_id": block.tool_use_id,
        "content": block.content,
    }
    return {**result, "is_error": True} if block.is_error else result


def _tools(request: ModelRequest, names: ToolNames) -> JsonObject:
    """The tools. A conversation that used tools must name some, even if none may be used."""
    if request.tools:
        return {"tools": [_tool(tool, names) for tool in request.tools]}
    if not names.all():
        return {}
    gone = [ToolDef(name, "No longer available.", {}) for name in names.all()]
    return {"tools": [_tool(tool, names) for tool in gone], "tool_choice": {"type": "none"}}


def _tool(tool: ToolDef, names: ToolNames) -> JsonObject:
    schema = object_schema(tool.input_schema)
    name = names.wire(tool.name)
    return {"name": name, "description": tool.description, "input_schema": schema}


def _thinking(request: ModelRequest, messages: Sequence[ChatMessage]) -> JsonObject | None:
    """Adaptive thinking for Claude 4.6 and later, a budget of half the output for the others.

    A budget is at least 1,024 and less than max_tokens, and the assistant message of a running
    tool loop must then begin with its thinking: one that came from elsewhere has none to give.
    """
    if _is_adaptive(request.model):
        return {"type": "adaptive", "display": "summarized"}
    budget = max(_LEAST_THINKING, request.max_tokens // 2)
    if budget >= request.max_tokens or not _loop_began_thinking(messages):
        return None
    return {"type": "enabled", "budget_tokens": budget}


def _is_adaptive(model: str) -> bool:
    version = _MODEL.match(model)
    if version is None:
        return False
    major, minor = version.groups()
    return major is None or (int(major), int(minor or 0)) >= (4, 6)


def _loop_began_thinking(messages: Sequence[ChatMessage]) -> bool:
    if not any(isinstance(block, ToolResultBlock) for block in messages[-1].blocks):
        return True
    first = messages[-2].blocks[0]
    return isinstance(first, ThinkingBlock) and _thought(first) is not None


def _mark_cache(body: JsonObject, system: Sequence[SystemPart]) -> None:
    """Breakpoints after the tools, the marked system parts and the last message: four at most.

    Where more system parts are marked than fit, the later ones count: they cover the earlier.
    """
    ends = [_last(body.get("tools")), _last(_last(body["messages"]).get("content"))]
    marked = [index for index, part in enumerate(system) if part.cache]
    parts: Any = body.get("system", [])
    room = _BREAKPOINTS - sum(1 for end in ends if end)
    for end in [*(parts[index] for index in marked[-room:]), *ends]:
        if end:
            end["cache_control"] = _CACHE


def _last(items: Any) -> Any:
    return items[-1] if items else {}


# --- stream reading ---------------------------------------------------------------------------

_BLOCK_TYPES: dict[str, BlockType] = {
    "text": "text",
    "thinking": "thinking",
    "redacted_thinking": "thinking",
    "tool_use": "tool_use",
}
_STOP_REASONS: dict[str, StopReason] = {
    "tool_use": "tool_use",
    "max_tokens": "max_tokens",
    "model_context_window_exceeded": "max_tokens",
    "refusal": "refusal",
}
_INPUT_COUNTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


class AnthropicReader:
    """Reads `message_start`, blocks of deltas, `message_delta`, `message_stop`."""

    def __init__(self, request: ModelRequest, names: ToolNames) -> None:
        self._assembly = Assembly(PROVIDER, names)
        self._blocks: dict[int, Draft] = {}
        self._counts: dict[str, int] = {}
        self._model = request.model
        self._stop_reason: StopReason = "end_turn"
        self._whole = False

    @property
    def whole(self) -> bool:
        """Whether `message_stop` came."""
        return self._whole

    def feed(self, event: StreamEvent) -> Iterable[Piece]:
        """The pieces of one event; unknown events and blocks have none."""
        match event.type:
            case "message_start":
                self._model = event.message.model or self._model
                self._count(event.message.usage)
            case "content_block_start":
                return self._start(event.index, event.content_block)
            case "content_block_delta" if event.index in self._blocks:
                return self._delta(self._blocks[event.index], event.delta)
            case "content_block_stop" if event.index in self._blocks:
                return [self._assembly.stop(self._blocks.pop(event.index))]
            case "message_delta":
                self._count(event.usage)
                self._stop_reason = _STOP_REASONS.get(event.delta.stop_reason or "", "end_turn")
            case "message_stop":
                self._whole = True
                return self._assembly.stop_all()
            case _:
                pass
        return ()

    def finished(self) -> Finished:
        """The whole message."""
        return self._assembly.finished(self._stop_reason, _usage(self._counts), self._model)

    def _start(self, index: int, block: ContentBlock) -> Iterable[Piece]:
        if block.type not in _BLOCK_TYPES:
            return []
        draft, started = self._assembly.start(_BLOCK_TYPES[block.type])
        self._blocks[index] = draft
        match block.type:
            case "tool_use":
                draft.id, draft.name, draft.given = block.id, block.name, block.input or {}
            case "redacted_thinking":
                draft.redacted = block.data
            case "thinking":
                return [started, *_grown(draft, block.thinking, ThinkingPiece)]
            case _:
                return [started, *_grown(draft, block.text, TextPiece)]
        return [started]

    def _delta(self, draft: Draft, delta: Delta) -> Iterable[Piece]:
        match delta.type:
            case "text_delta":
                return _grown(draft, delta.text, TextPiece)
            case "thinking_delta":
                return _grown(draft, delta.thinking, ThinkingPiece)
            case "signature_delta":
                draft.signature += delta.signature
            case "input_json_delta":
                draft.text.append(delta.partial_json)
            case _:
                pass
        return ()

    def _count(self, usage: Usage | None) -> None:
        """Counts are cumulative: the latest of each kind holds."""
        for kind in (*_INPUT_COUNTS, "output_tokens"):
            count = getattr(usage, kind, None)
            if count is not None:
                self._counts[kind] = count


def _grown(
    draft: Draft, text: str | None, piece: type[TextPiece] | type[ThinkingPiece]
) -> list[Piece]:
    if not text:
        return []
    draft.text.append(text)
    return [piece(text)]


def _usage(counts: dict[str, int]) -> TokenUsage:
    """Anthropic counts cached tokens beside `input_tokens`; ours holds them."""
    return TokenUsage(
        input_tokens=sum(counts.get(kind, 0) for kind in _INPUT_COUNTS),
        output_tokens=counts.get("output_tokens", 0),
        cache_hit_tokens=counts.get("cache_read_input_tokens", 0),
        cache_write_tokens=counts.get("cache_creation_input_tokens", 0),
    )
