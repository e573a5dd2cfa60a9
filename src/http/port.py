"""What HTTP needs of an Engine: requests and answers as structs, and one protocol.

Nothing else of the Engine is known here. Field docs and bounds become the OpenAPI document.
Times are ISO-8601 with milliseconds and Z. Every method may raise SeptemberError, which becomes
the answer's status and envelope.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Protocol, TypeAlias

from msgspec import Meta, Struct

from ..brain.channels.events import HitlRequest, JsonObject
from ..brain.herald.conversation import Block, MediaBlock
from ..brain.raven.happenings import Happening, HappeningFilter
from ..brain.replay.record import RecordedTurn
from ..traces.life import Life
from .asset_port import AssetPort
from .learning_port import LearningPort
from .memory_port import MemoryPort
from .metrics_port import MetricsPort
from .skill_port import CallPort, SkillPort
from .stream_port import Stream as Stream
from .trace_port import TracePort

OnBusy: TypeAlias = Literal["reject", "queue", "interrupt"]


class ExecuteRequest(Struct, frozen=True, kw_only=True):
    """One turn to run (contract, sections 4 and 19.5).

    `last_event_id` matters only when `idempotency_key` names a turn that was begun before.
    """

    task_id: str
    message: str
    media: tuple[MediaBlock, ...] = ()
    direct: bool = False
    edit_message_id: str | None = None
    retry_message_id: str | None = None
    agent: str = "assistant"
    super_thinking: bool = False
    response_schema: JsonObject | None = None
    context_files: dict[str, str] = {}
    on_busy: OnBusy = "reject"
    idempotency_key: str | None = None
    last_event_id: int | None = None
    traceparent: str | None = None


class ReplayRequest(Struct, frozen=True, kw_only=True):
    """Which events to send again (contract, section 19.2).

    Events later than `after_ms` (milliseconds since the epoch) and with ids above `after_id`;
    with `follow` also those that come until the running turn ends.
    """

    task_id: str | None = None
    after_ms: int = 0
    after_id: int | None = None
    follow: bool = True


class CancelResult(Struct, frozen=True, kw_only=True):
    """What a cancel did: `turn_id` is null when nothing ran."""

    status: Literal["cancelled", "idle"]
    task_id: str
    turn_id: str | None = None


class HitlAnswer(Struct, frozen=True, kw_only=True):
    """A person's answer to what a task waits for."""

    task_id: str | None
    request_id: str | None
    answer: str
    feedback: str | None = None
    media: tuple[MediaBlock, ...] = ()


class HitlResumed(Struct, frozen=True, kw_only=True):
    """The turn goes on."""

    request_id: str
    status: Literal["resumed"] = "resumed"


class StandingPermit(Struct, frozen=True, kw_only=True):
    """A yes that is remembered: for this tool and what it is about, in one task or always."""

    permit_id: str
    tool: str
    subject: str
    scope: Literal["task", "always"]
    task_id: str | None
    created_at: str


class PermissionDecision(Struct, frozen=True, kw_only=True):
    """What was decided on a tool call. `concern` is the rule it fell under, if any."""

    task_id: str
    turn_id: str
    tool_call_id: str
    tool: str
    outcome: str
    concern: str | None
    reason: str
    scope: str | None
    created_at: str


class ConversationSummary(Struct, frozen=True, kw_only=True):
    """A task as a list shows it."""

    task_id: str
    title: str
    agent: str
    created_at: str
    updated_at: str


class ConversationPage(Struct, frozen=True, kw_only=True):
    """Conversations, latest first. `next_before` fetches the page after this one."""

    conversations: Sequence[ConversationSummary]
    next_before: str | None = None


class StoredMessage(Struct, frozen=True, kw_only=True):
    """One message of a transcript; `message_id` is what edit and retry take."""

    message_id: str
    turn_id: str
    role: Literal["user", "assistant"]
    blocks: Sequence[Block]
    created_at: str


class Conversation(Struct, frozen=True, kw_only=True):
    """A task with its transcript, without what an edit or retry has replaced."""

    task_id: str
    title: str
    agent: str
    created_at: str
    updated_at: str
    messages: Sequence[StoredMessage]


class MediaContent(Struct, frozen=True, kw_only=True):
    """An attachment as it was kept; `data` is standard base64, `size` the bytes it stands for."""

    media_id: str
    task_id: str
    media_type: str
    size: int
    data: str


class AgentInfo(Struct, frozen=True, kw_only=True):
    """An agent of the catalog. A null `model` is the deployment's own."""

    name: str
    description: str
    tools: Sequence[str]
    model: str | None = None


class Feedback(Struct, frozen=True, kw_only=True):
    """What a person thought of a turn, or of the task as a whole."""

    task_id: str
    signal: str
    turn_id: str | None = None
    comment: str | None = None


class CatalogCounts(Struct, frozen=True, kw_only=True):
    """How much the catalog in force defines."""

    agents: int
    skills: int = 0
    tools: int = 0


class Activity(Struct, frozen=True, kw_only=True):
    """What keeps the Engine from being idle."""

    running_turns: int
    queued_turns: int
    pending_hitl: int
    idle_seconds: float
    next_wake_at: str | None = None


class HealthReport(Struct, frozen=True, kw_only=True):
    """The Engine's health; `subsystems` names the culprit with the word "error"."""

    status: Literal["ok", "degraded", "error"]
    uptime_seconds: float
    subsystems: dict[str, str]
    activity: Activity


class RetiredKey(Struct, frozen=True):
    """A key that was rotated away: valid until one time, and recognised until a later one.

    Times are seconds since the epoch, so that they outlive the process.
    """

    key_hash: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    valid_until: float
    known_until: float


class KeyState(Struct, frozen=True, kw_only=True):
    """The Engine's keys, as SHA-256 in hex. `configured` is the environment's at the rotation."""

    configured: str
    current: str
    retired: tuple[RetiredKey, ...] = ()


class EnginePort(Protocol):
    """An Engine, as the routes see it."""

    @property
    def memory(self) -> MemoryPort:
        """Its memory."""
        ...

    @property
    def learning(self) -> LearningPort:
        """Its Learning Centre."""
        ...

    @property
    def assets(self) -> AssetPort:
        """Its connectors."""
        ...

    @property
    def skills(self) -> SkillPort:
        """Its skills."""
        ...

    @property
    def calls(self) -> CallPort:
        """Its tools and skills, called directly."""
        ...

    @property
    def traces(self) -> TracePort:
        """What it records of itself."""
        ...

    @property
    def metrics(self) -> MetricsPort:
        """What it counts and measures."""
        ...

    async def start(self, request: ExecuteRequest) -> Stream:
        """Accept a turn; a refusal is raised before any event exists."""
        ...

    async def replay(self, request: ReplayRequest) -> Stream:
        """Send buffered events again."""
        ...

    async def cancel(self, task_id: str) -> CancelResult:
        """End the task's running turn."""
        ...

    async def respond(self, answer: HitlAnswer) -> HitlResumed:
        """Answer what a task waits for."""
        ...

    async def pending(self) -> Sequence[HitlRequest]:
        """Everything that waits for a person, oldest first."""
        ...

    async def permits(self) -> Sequence[StandingPermit]:
        """The answers to permission prompts that are remembered, oldest first."""
        ...

    async def revoke_permit(self, permit_id: str) -> None:
        """Forget one of them. Raises NOT_FOUND."""
        ...

    async def decisions(self, task_id: str | None, limit: int) -> Sequence[PermissionDecision]:
        """What was decided on tool calls, latest first."""
        ...

    async def conversations(self, limit: int, before: str | None) -> ConversationPage:
        """A page of at most `limit` tasks that come after the position `before`."""
        ...

    async def conversation(self, task_id: str) -> Conversation:
        """One task with its transcript."""
        ...

    async def media(self, media_id: str) -> MediaContent:
        """An attachment, with its bytes."""
        ...

    async def forget(self, task_id: str) -> None:
        """Delete a task and its transcript."""
        ...

    async def agents(self) -> Sequence[AgentInfo]:
        """The agents of the catalog in force."""
        ...

    async def reload_catalog(self) -> CatalogCounts:
        """Read the catalog again; a broken one is refused and the old one stays."""
        ...

    async def feedback(self, feedback: Feedback) -> None:
        """Keep a learning signal."""
        ...

    async def happenings(self, wanted: HappeningFilter) -> Sequence[Happening]:
        """The observability events that fit, latest first."""
        ...

    async def life(self, actor: str, at: str | None) -> Life:
        """What is recorded of one life of an actor, the latest or that of span `at`."""
        ...

    async def recorded_turn(self, turn_id: str) -> RecordedTurn:
        """What is recorded of a turn that has ended."""
        ...

    async def health(self) -> HealthReport:
        """How the Engine is; never raises."""
        ...

    async def save_keys(self, keys: KeyState) -> None:
        """Make a key rotation durable; returns when it is."""
        ...

    async def drain(self) -> None:
        """Accept no more turns; return when none runs."""
        ...
