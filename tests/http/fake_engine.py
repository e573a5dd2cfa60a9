"""A test double of the Engine's port: says what it is told to, and remembers what it was asked."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import trio

from september.brain.channels.events import HitlRequest
from september.brain.herald.conversation import TextBlock
from september.brain.raven.happenings import Happening, HappeningFilter
from september.brain.replay.record import RecordedTurn
from september.errors import SeptemberError
from september.http.asset_port import AssetPort
from september.http.learning_port import LearningPort
from september.http.memory_port import MemoryPort
from september.http.port import (
    Activity,
    AgentInfo,
    CancelResult,
    CatalogCounts,
    Conversation,
    ConversationPage,
    ConversationSummary,
    ExecuteRequest,
    Feedback,
    HealthReport,
    HitlAnswer,
    HitlResumed,
    KeyState,
    MediaContent,
    PermissionDecision,
    ReplayRequest,
    StandingPermit,
    StoredMessage,
)
from september.http.skill_port import CallPort, SkillPort
from september.traces.life import Life

from .fake_traces import FakeTraces

NOW = "2026-11-20T10:00:00.000Z"

Chunks = Callable[[], AsyncGenerator[bytes, None]]


def sse(number: int, text: str = "hi") -> bytes:
    return b'id: %d\nevent: text_delta\ndata: {"text":"%b"}\n\n' % (number, text.encode())


async def three_frames() -> AsyncGenerator[bytes, None]:
    yield sse(1) + sse(2)
    yield sse(3)


class FakeStream:
    """A stream of whatever `chunks` yields; counted while it is open."""

    def __init__(self, engine: "FakeEngine", task_id: str | None, chunks: Chunks) -> None:
        self.task_id = task_id
        self.turn_id = "turn-1"
        self._engine = engine
        self._chunks = chunks()

    @property
    def chunks(self) -> AsyncIterator[bytes]:
        return self._chunks

    async def __aenter__(self) -> Self:
        self._engine.open_streams += 1
        self._engine.entered.set()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._chunks.aclose()
        self._engine.open_streams -= 1
        self._engine.left.set()


@dataclass
class FakeEngine:
    chunks: Chunks = three_frames
    refusal: BaseException | None = None
    status: str = "ok"
    requests: list[object] = field(default_factory=list[object])
    assets: AssetPort = field(init=False)  # tested with a real one: tests/e2e/test_assets.py
    learning: LearningPort = field(init=False)  # tested with a real one: tests/e2e
    memory: MemoryPort = field(init=False)  # tested with a real one: test_memory.py
    skills: SkillPort = field(init=False)  # tested with a real one: tests/e2e/test_skills.py
    calls: CallPort = field(init=False)
    saved: list[KeyState] = field(default_factory=list[KeyState])
    counted: list[tuple[str, str, int, str]] = field(
        default_factory=list[tuple[str, str, int, str]]
    )
    open_streams: int = 0
    entered: trio.Event = field(default_factory=trio.Event)
    left: trio.Event = field(default_factory=trio.Event)
    drained: trio.Event | None = None
    draining: bool = False

    def _asked(self, request: object) -> None:
        self.requests.append(request)
        if self.refusal is not None:
            raise self.refusal

    async def start(self, request: ExecuteRequest) -> FakeStream:
        self._asked(request)
        if request.agent != "assistant":
            raise SeptemberError("AGENT_NOT_FOUND", f"no agent {request.agent!r}")
        return FakeStream(self, request.task_id, self.chunks)

    async def replay(self, request: ReplayRequest) -> FakeStream:
        self._asked(request)
        return FakeStream(self, request.task_id, self.chunks)

    async def cancel(self, task_id: str) -> CancelResult:
        self._asked(task_id)
        return CancelResult(status="cancelled", task_id=task_id, turn_id="turn-1")

    async def respond(self, answer: HitlAnswer) -> HitlResumed:
        self._asked(answer)
        return HitlResumed(request_id="hitl-1")

    async def permits(self) -> Sequence[StandingPermit]:
        return (
            StandingPermit(
                permit_id="permit-1",
                tool="bash",
                subject="rm -rf /x",
                scope="always",
                task_id=None,
                created_at=NOW,
            ),
        )

    async def revoke_permit(self, permit_id: str) -> None:
        self._asked(permit_id)

    async def decisions(self, task_id: str | None, limit: int) -> Sequence[PermissionDecision]:
        return ()

    async def pending(self) -> Sequence[HitlRequest]:
        return (
            HitlRequest(
                request_id="hitl-1",
                task_id="t",
                kind="permission",
                question="May I?",
                created_at=NOW,
                expires_at=NOW,
            ),
        )

    async def conversations(self, limit: int, before: str | None) -> ConversationPage:
        self._asked((limit, before))
        summary = ConversationSummary(
            task_id="t", title="Hi", agent="assistant", created_at=NOW, updated_at=NOW
        )
        return ConversationPage(conversations=(summary,), next_before="2")

    async def conversation(self, task_id: str) -> Conversation:
        self._asked(task_id)
        message = StoredMessage(
            message_id="m-1",
            turn_id="turn-1",
            role="user",
            blocks=(TextBlock("Hi"),),
            created_at=NOW,
        )
        return Conversation(
            task_id=task_id,
            title="Hi",
            agent="assistant",
            created_at=NOW,
            updated_at=NOW,
            messages=(message,),
        )

    async def media(self, media_id: str) -> MediaContent:
        self._asked(media_id)
        return MediaContent(
            media_id=media_id, task_id="task", media_type="image/png", size=2, data="aGk="
        )

    async def forget(self, task_id: str) -> None:
        self._asked(task_id)

    async def agents(self) -> Sequence[AgentInfo]:
        return (AgentInfo(name="assistant", description="Helps", tools=("bash",)),)

    async def reload_catalog(self) -> CatalogCounts:
        self._asked("reload")
        return CatalogCounts(agents=1)

    async def feedback(self, feedback: Feedback) -> None:
        self._asked(feedback)

    async def happenings(self, wanted: HappeningFilter) -> Sequence[Happening]:
        self._asked(wanted)
        return ()

    async def life(self, actor: str, at: str | None) -> Life:
        self._asked((actor, at))
        return Life(path=actor, incarnation=1, at=at)

    async def recorded_turn(self, turn_id: str) -> RecordedTurn:
        self._asked(turn_id)
        raise SeptemberError("NOT_FOUND", f"no turn {turn_id!r}")

    async def health(self) -> HealthReport:
        return HealthReport(
            status="error" if self.draining or self.status == "error" else "ok",
            uptime_seconds=1.5,
            subsystems={"database": "ok"},
            activity=Activity(running_turns=0, queued_turns=0, pending_hitl=0, idle_seconds=1.0),
        )

    async def save_keys(self, keys: KeyState) -> None:
        self._asked(keys)
        self.saved.append(keys)

    def count_request(
        self, method: str, route: str, status: int, seconds: float, code: str
    ) -> None:
        self.counted.append((method, route, status, code))

    def expose(self, accept: str) -> tuple[bytes, str]:
        return b"engine_up 1\n", "text/plain; version=0.0.4; charset=utf-8"

    @property
    def metrics(self) -> "FakeEngine":
        return self

    @property
    def traces(self) -> FakeTraces:
        return FakeTraces(self._asked)

    async def drain(self) -> None:
        self.draining = True
        if self.drained is not None:
            await self.drained.wait()
