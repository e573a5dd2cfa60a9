"""The event vocabulary: everything a turn can put on the wire, and nothing else.

Each class is one SSE event; its `tag` is the event's name and its fields are the JSON data
(contract, sections 5 and 19.11). Adding an event means adding a class here and to `Event`.
"""

from typing import ClassVar, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Struct, UnsetType

JsonObject: TypeAlias = dict[str, object]
"""A JSON object as decoded; whoever reads a value narrows it first."""


class SubAgent(Struct, frozen=True, kw_only=True):
    """Which sub-agent an event comes from.

    `call_id` are the ids of the tool calls that lead to it, outermost first, joined by `/`.
    """

    agent: str
    call_id: str


class EventBase(Struct, frozen=True, kw_only=True):
    """What all events share: a name on the wire, and from whom they come if not from the agent."""

    type: ClassVar[str]
    sub_agent: SubAgent | UnsetType = UNSET


class ThreadLifecycle(EventBase, frozen=True, kw_only=True):
    """A turn opened or closed: the first event, and the last (only `error` may follow it)."""

    type: ClassVar[str] = "thread_lifecycle"
    phase: Literal["started", "completed", "errored", "cancelled"]
    task_id: str
    turn_id: str
    timestamp: str
    message_id: str | UnsetType = UNSET
    """On `started`: the user message, as edit_message_id and retry_message_id take it."""


class TaskLifecycle(EventBase, frozen=True, kw_only=True):
    """A task (thread) came into being or changed its standing."""

    type: ClassVar[str] = "task_lifecycle"
    task_id: str
    phase: Literal["created", "queued", "running", "waiting", "idle"]
    timestamp: str


class TextDelta(EventBase, frozen=True, kw_only=True):
    """A piece of the answer."""

    type: ClassVar[str] = "text_delta"
    text: str


class ThinkingDelta(EventBase, frozen=True, kw_only=True):
    """A piece of extended thinking."""

    type: ClassVar[str] = "thinking_delta"
    text: str


class ContentBlockStart(EventBase, frozen=True, kw_only=True):
    """A content block of the model's message begins."""

    type: ClassVar[str] = "content_block_start"
    block_index: int
    block_type: Literal["text", "thinking", "tool_use"]


class ContentBlockStop(EventBase, frozen=True, kw_only=True):
    """A content block of the model's message is whole."""

    type: ClassVar[str] = "content_block_stop"
    block_index: int
    block_type: Literal["text", "thinking", "tool_use"]


class ToolCall(EventBase, frozen=True, kw_only=True):
    """The model asks for a tool; sent before the tool runs."""

    type: ClassVar[str] = "tool_call"
    tool: str
    tool_call_id: str
    input: JsonObject


class ToolResult(EventBase, frozen=True, kw_only=True):
    """What a tool answered; `error` is set when it failed."""

    type: ClassVar[str] = "tool_result"
    tool_call_id: str
    tool: str
    output: str
    error: str | None
    duration_ms: int
    truncated: bool


class ToolError(EventBase, frozen=True, kw_only=True):
    """A tool failed in a way worth telling apart from its answer."""

    type: ClassVar[str] = "tool_error"
    tool_call_id: str
    tool: str
    error: str
    message: str


class ToolProgress(EventBase, frozen=True, kw_only=True):
    """How far a tool is; `total` is null when nobody knows.

    Of a command that runs: the bytes it has printed, and as `message` its latest complete lines.
    """

    type: ClassVar[str] = "tool_progress"
    tool_call_id: str
    tool: str
    progress: float
    total: float | None
    message: str


class HitlRequest(EventBase, frozen=True, kw_only=True):
    """The turn waits for a person."""

    type: ClassVar[str] = "hitl_request"
    request_id: str
    task_id: str
    kind: Literal["permission", "question", "plan"]
    question: str
    created_at: str
    expires_at: str
    tool: str | UnsetType = UNSET
    input: JsonObject | UnsetType = UNSET
    options: list[str] | UnsetType = UNSET


class HitlResolved(EventBase, frozen=True, kw_only=True):
    """The wait is over: a person answered, it expired, or the turn was cancelled."""

    type: ClassVar[str] = "hitl_resolved"
    request_id: str
    task_id: str
    answer: str | None
    by: Literal["user", "expiry", "cancel"]


class PermissionPrompt(EventBase, frozen=True, kw_only=True):
    """Why a tool call needs a person's permission; precedes its hitl_request."""

    type: ClassVar[str] = "permission_prompt"
    tool_call_id: str
    tool: str
    reason: str


HookOutcome: TypeAlias = Literal["denied", "asked", "amended", "added", "continued", "failed"]


class HookResult(EventBase, frozen=True, kw_only=True):
    """A hook of the catalog had something to say; one that plainly allows is not told."""

    type: ClassVar[str] = "hook_result"
    hook: str
    on: Literal["pre_tool", "post_tool", "stop"]
    outcome: HookOutcome
    message: str
    tool_call_id: str | UnsetType = UNSET


class WorkingMemoryUpdate(EventBase, frozen=True, kw_only=True):
    """The agent wrote to (or, with a null value, erased from) working memory."""

    type: ClassVar[str] = "working_memory_update"
    key: str
    value: str | None
    expires_at: str


class RetrievedItem(Struct, frozen=True):
    """One memory shown to the model."""

    store: str
    id: str
    score: float


class MemoryRetrieval(EventBase, frozen=True, kw_only=True):
    """Which memories were brought back for this turn."""

    type: ClassVar[str] = "memory_retrieval"
    items: list[RetrievedItem]


class MediaLeftOut(EventBase, frozen=True, kw_only=True):
    """The model was not given an attachment; it was told so in its place."""

    type: ClassVar[str] = "media_left_out"
    media: str
    """The attachment's media_id, or its URL."""
    kind: Literal["image", "document", "audio", "video"]
    reason: str


class CompactionEvent(EventBase, frozen=True, kw_only=True):
    """The transcript was condensed; token counts are of the whole context."""

    type: ClassVar[str] = "compaction_event"
    before_tokens: int
    after_tokens: int
    strategy: Literal["summary"] = "summary"


class Heartbeat(EventBase, frozen=True, kw_only=True):
    """A sign of life after 15 s of silence; `queued` is the place in line (1 = next)."""

    type: ClassVar[str] = "heartbeat"
    timestamp: str
    queued: int | UnsetType = UNSET


class Usage(EventBase, frozen=True, kw_only=True):
    """Tokens of one model call. `cache_hit_tokens` is part of `input_tokens`."""

    type: ClassVar[str] = "usage"
    input_tokens: int
    output_tokens: int
    cache_hit_tokens: int
    cache_write_tokens: int
    provider: str
    model: str
    cost_usd: float | None


class CacheHitRatioAlert(EventBase, frozen=True, kw_only=True):
    """The prompt cache hits less often than the threshold (both 0..1)."""

    type: ClassVar[str] = "cache_hit_ratio_alert"
    ratio: float
    threshold: float


class Error(EventBase, frozen=True, kw_only=True):
    """Why the turn errored. Nothing follows it on that call."""

    type: ClassVar[str] = "error"
    error: str
    message: str
    details: JsonObject | UnsetType = UNSET


CLOSING_PHASES = frozenset({"completed", "cancelled"})
"""Phases after which nothing follows; `errored` is followed by the `error` that says why."""

Event: TypeAlias = (
    ThreadLifecycle
    | TaskLifecycle
    | TextDelta
    | ThinkingDelta
    | ContentBlockStart
    | ContentBlockStop
    | ToolCall
    | ToolResult
    | ToolError
    | ToolProgress
    | HitlRequest
    | HitlResolved
    | PermissionPrompt
    | HookResult
    | WorkingMemoryUpdate
    | MemoryRetrieval
    | MediaLeftOut
    | CompactionEvent
    | Heartbeat
    | Usage
    | CacheHitRatioAlert
    | Error
)

_encoder = msgspec.json.Encoder()


def encode(event: Event) -> bytes:
    """The JSON data of an event, as stored in the event log and sent on the wire."""
    return _encoder.encode(event)


def closes(event: Event) -> bool:
    """Whether this is the last event of its turn."""
    match event:
        case Error():
            return True
        case ThreadLifecycle(phase=phase):
            return phase in CLOSING_PHASES
        case _:
            return False
