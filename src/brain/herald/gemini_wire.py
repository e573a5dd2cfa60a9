"""Gemini's streamGenerateContent on the wire: our request as its arguments, its stream as ours."""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Any

import msgspec

from ..channels.events import JsonObject
from .assembly import Assembly
from .attachments import in_place_of
from .conversation import (
    Base64Source,
    Block,
    BlockType,
    ChatMessage,
    Finished,
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
)
from .faults import SpoiledAnswer
from .gemini_schema import gemini_schema
from .naming import ToolNames
from .transcript import repaired

PROVIDER = "gemini"

# --- request translation ----------------------------------------------------------------------

_FOREIGN_SIGNATURE = b"skip_thought_signature_validator"
"""What Google's documentation gives for calls that another model made (Thought signatures, FAQ).

Gemini 3 refuses a step whose first function call has no signature.
"""


_NO_THINKING = re.compile(r"(models/)?gemini-(1|2\.0)")
"""Models from before thinking: they refuse its configuration."""


def translate(request: ModelRequest, names: ToolNames) -> dict[str, Any]:
    """The arguments of the SDK's `generate_content_stream`."""
    messages = repaired(request.messages, PROVIDER)
    config: JsonObject = {
        "max_output_tokens": request.max_tokens,
        "automatic_function_calling": {"disable": True},
        "automatic_continuation": False,
    }
    system = [part.text for part in request.system if part.text.strip()]
    if request.tools:
        declarations = [_declaration(tool, names) for tool in request.tools]
        config["tools"] = [{"function_declarations": declarations}]
    if request.thinking and not _NO_THINKING.match(request.model):
        config["thinking_config"] = {"include_thoughts": True}
    if request.response_schema is not None:
        if request.tools and _keeps_json_from_tools(request.model):
            system.append(_schema_in_words(request.response_schema))
        else:
            config["response_mime_type"] = "application/json"
            config["response_json_schema"] = request.response_schema
    if system:
        config["system_instruction"] = {"parts": [{"text": text} for text in system]}
    contents = [_content(message, names) for message in messages]
    return {"model": request.model, "contents": contents, "config": config}


def _content(message: ChatMessage, names: ToolNames) -> JsonObject:
    role = "model" if message.role == "assistant" else "user"
    parts = [part for block in message.blocks if (part := _part(block, names))]
    for part in parts:
        if "function_call" in part:
            part.setdefault("thought_signature", _FOREIGN_SIGNATURE)
            break
    return {"role": role, "parts": parts}


def _part(block: Block, names: ToolNames) -> JsonObject | None:
    match block:
        case TextBlock(text):
            return {"text": text}
        case ThinkingBlock():
            return _thought(block)
        case ToolUseBlock():
            name = names.wire(block.name)
            call: JsonObject = {"id": block.id, "name": name, "args": block.input}
            return {"function_call": call, **_signature(block.signature)}
        case ToolResultBlock():
            outcome = {"error" if block.is_error else "output": block.content}
            name = names.wire(block.name)
            response = {"id": block.tool_use_id, "name": name, "response": outcome}
            return {"function_response": response}
        case _:
            return _media(block)


def _thought(block: ThinkingBlock) -> JsonObject | None:
    """Only signed thoughts go back; the text of the others is a summary the model cannot use."""
    if not block.signature:
        return None
    thought: JsonObject = {"text": block.text, **_signature(block.signature)}
    return {**thought, "thought": True} if block.text else thought


def _signature(signature: str) -> JsonObject:
    return {"thought_signature": b64decode(signature)} if signature else {}


def _media(block: MediaBlock) -> JsonObject:
    if isinstance(block.source, Base64Source):
        source = block.source
        return {"inline_data": {"mime_type": source.media_type, "data": b64decode(source.data)}}
    return {"text": in_place_of(block, "it was not made ready for this model").text}


def _declaration(tool: ToolDef, names: ToolNames) -> JsonObject:
    declared: JsonObject = {"name": names.wire(tool.name), "description": tool.description}
    parameters = gemini_schema(tool.input_schema)
    return {**declared, "parameters": parameters} if parameters else declared


def _keeps_json_from_tools(model: str) -> bool:
    """Up to Gemini 2.5 a response schema and tools exclude each other."""
    return re.match(r"(models/)?gemini-[12]\b", model) is not None


def _schema_in_words(schema: JsonObject) -> str:
    text = msgspec.json.encode(schema).decode()
    return f"Your final answer must be one JSON value, without other text, valid for:\n{text}"


# --- stream reading ---------------------------------------------------------------------------

_STOP_REASONS: dict[str, StopReason] = {
    "STOP": "end_turn",
    "MAX_TOKENS": "max_tokens",
    "CONTINUATION": "max_tokens",
}
_SPOILED = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "MALFORMED_RESPONSE",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "OTHER",
    }
)
"""Finish reasons by which Gemini disowns what it wrote: there is no call to answer, so ask again.

Every other reason (SAFETY, RECITATION, BLOCKLIST, ...) is a refusal.
"""


class GeminiReader:
    """Reads chunks of one candidate: thoughts, text and whole function calls, with signatures."""

    def __init__(self, request: ModelRequest, names: ToolNames) -> None:
        self._assembly = Assembly(PROVIDER, names)
        self._model = request.model
        self._usage = TokenUsage()
        self._stop_reason: StopReason = "end_turn"
        self._whole = False

    @property
    def whole(self) -> bool:
        """Whether a `finishReason`, or the news that the prompt was blocked, came."""
        return self._whole

    def feed(self, event: Any) -> Iterable[Piece]:
        """The pieces of one chunk."""
        self._model = event.model_version or self._model
        if event.usage_metadata is not None:
            self._usage = _usage(event.usage_metadata)
        if event.prompt_feedback is not None and event.prompt_feedback.block_reason is not None:
            self._end("refusal")
        for candidate in (event.candidates or ())[:1]:
            for part in (candidate.content and candidate.content.parts) or ():
                yield from self._part(part)
            if candidate.finish_reason is not None:
                self._finish(candidate.finish_reason.value, candidate.finish_message)
                yield from self._assembly.stop_all()

    def finished(self) -> Finished:
        """The whole message."""
        return self._assembly.finished(self._stop_reason, self._usage, self._model)

    def _part(self, part: Any) -> Iterable[Piece]:
        signature = b64encode(part.thought_signature or b"").decode()
        if part.function_call is not None:
            yield from self._call(part.function_call, signature)
        elif part.thought:
            yield from self._text("thinking", part.text or "", signature)
        elif part.text is not None:
            yield from self._text("text", part.text, "")
            if signature:
                yield from self._assembly.stop_all()
                yield from self._text("thinking", "", signature)
                yield from self._assembly.stop_all()

    def _text(self, block_type: BlockType, text: str, signature: str) -> Iterable[Piece]:
        if not text and not signature:
            return
        draft = self._assembly.last_open(block_type)
        if draft is None:
            yield from self._assembly.stop_all()
            draft, started = self._assembly.start(block_type)
            yield started
        draft.signature = signature or draft.signature
        if text:
            draft.text.append(text)
            yield ThinkingPiece(text) if block_type == "thinking" else TextPiece(text)

    def _call(self, call: Any, signature: str) -> Iterable[Piece]:
        yield from self._assembly.stop_all()
        draft, started = self._assembly.start("tool_use")
        draft.id, draft.name = call.id or "", call.name or ""
        draft.given, draft.signature = dict(call.args or {}), signature
        yield started
        yield self._assembly.stop(draft)

    def _finish(self, reason: str, message: str | None) -> None:
        if reason in _SPOILED:
            raise SpoiledAnswer(f"{reason}: {message or 'no further word'}")
        self._end(_STOP_REASONS.get(reason, "refusal"))

    def _end(self, reason: StopReason) -> None:
        self._stop_reason = reason
        self._whole = True


def _usage(usage: Any) -> TokenUsage:
    """The prompt count holds the cached tokens; thoughts are counted beside the answer."""
    return TokenUsage(
        input_tokens=(usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0),
        output_tokens=(usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0),
        cache_hit_tokens=usage.cached_content_token_count or 0,
    )
