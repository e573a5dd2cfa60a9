"""The port's other side: an Engine's actors, as the routes see them."""

import time
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import msgspec
import trio

from ..actors import Actor, ActorError
from ..brain import conversations
from ..brain.agent import permits
from ..brain.agent.offer import check_catalog
from ..brain.agent.request import TurnRequest
from ..brain.assets.definitions import load_servers
from ..brain.assets.directory import UseServers
from ..brain.catalog import Catalog, catalog_root, load_catalog
from ..brain.channels.events import HitlRequest
from ..brain.channels.replay import NEWEST, Following
from ..brain.clock import iso
from ..brain.conversations import Position, Summary
from ..brain.coordinator import coordinator as tasks
from ..brain.hitl import ListPending, Respond, announcement
from ..brain.media import rows
from ..brain.raven import happenings, lives
from ..brain.raven.happenings import Happening, HappeningFilter
from ..brain.raven.raven import BrainTraces
from ..brain.replay.record import RecordedTurn, recorded_turn
from ..brain.tree import Engine
from ..errors import SeptemberError
from ..traces.keeper import Flush
from ..traces.life import Life
from ..traces.row import TraceRow
from .asset_bridge import AssetBridge
from .health import report
from .keys import save_keys
from .learning_bridge import LearningBridge
from .memory_bridge import MemoryBridge
from .port import (
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
from .skill_bridge import CallBridge, SkillBridge
from .streams import EventStream
from .trace_bridge import TraceBridge

DRAIN_POLL_S = 0.05
"""How often a drain looks whether turns still run."""


class EngineBridge:
    """Implements `EnginePort` for a running Engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._began = time.monotonic()
        self._draining = False
        self.metrics = engine.metrics
        self.memory = MemoryBridge(engine)
        self.assets = AssetBridge(engine)
        self.skills = SkillBridge(engine)
        self.calls = CallBridge(engine)
        self.learning = LearningBridge(engine)
        self.traces = TraceBridge(engine.tree, engine.raven, BrainTraces(engine.database))

    async def start(self, request: ExecuteRequest) -> EventStream:
        """Have the coordinator accept the turn, and follow it from its first event."""
        taken = await self._engine.intake.take(request.task_id, request.media)
        turn = TurnRequest(
            message=request.message,
            agent=request.agent,
            media=taken.blocks,
            direct=request.direct,
            super_thinking=request.super_thinking,
            response_schema=request.response_schema,
            files=request.context_files,
            edit_message_id=request.edit_message_id,
            retry_message_id=request.retry_message_id,
        )
        accepted = await self._engine.coordinator.call(
            tasks.StartTurn(
                request.task_id, turn, request.on_busy, request.idempotency_key, taken.items
            )
        )
        if isinstance(accepted, SeptemberError):
            raise accepted
        after = accepted.after
        if accepted.attached and request.last_event_id is not None:
            after = max(after, request.last_event_id)
        if accepted.attached and not await self._told(accepted.turn_id):
            return self._nothing(accepted.task_id, accepted.turn_id)
        return self._stream(accepted.task_id, accepted.turn_id, after)

    async def _told(self, turn_id: str) -> bool:
        """Whether the turn will be told to its end: its events may have had their time."""
        return await self._engine.database.read(partial(conversations.is_told, turn_id=turn_id))

    def _nothing(self, task_id: str, turn_id: str) -> EventStream:
        """A stream that ends at once."""
        engine = self._engine
        nothing = Following(engine.log, engine.database, task_id=task_id, after=NEWEST)
        return EventStream(nothing, task_id, turn_id)

    def _stream(self, task_id: str, turn_id: str, after: int) -> EventStream:
        engine = self._engine
        following = Following(
            engine.log, engine.database, task_id=task_id, after=after, turn=turn_id
        )
        return EventStream(following, task_id, turn_id)

    async def replay(self, request: ReplayRequest) -> EventStream:
        """Follow the log from a time or an id."""
        engine, task_id = self._engine, request.task_id
        if task_id is not None:
            await engine.database.read(partial(conversations.show, task_id=task_id))
        after = request.after_id
        if after is None:
            at = partial(conversations.last_event_at, after_ms=request.after_ms)
            after = await engine.database.read(at)
        until: frozenset[str] = frozenset()
        if request.follow:
            until = await engine.database.read(partial(conversations.open_turns, task_id=task_id))
        following = Following(
            engine.log, engine.database, task_id=task_id, after=after, until=until
        )
        return EventStream(following, task_id, None)

    async def cancel(self, task_id: str) -> CancelResult:
        """End the task's running turn; answered when its last event is written."""
        stopped = await self._engine.coordinator.call(tasks.CancelTask(task_id))
        if stopped.turn_id is None:
            return CancelResult(status="idle", task_id=task_id)
        return CancelResult(status="cancelled", task_id=task_id, turn_id=stopped.turn_id)

    async def respond(self, answer: HitlAnswer) -> HitlResumed:
        """Hand a person's answer to the turn that waits for it."""
        task_id = answer.task_id or await self._task_of(answer.request_id)
        taken = await self._engine.intake.take(task_id, answer.media, "content_blocks")
        resolved = await self._engine.approvals.call(
            Respond(
                task_id,
                answer.answer,
                answer.request_id,
                answer.feedback,
                taken.blocks,
                taken.items,
            )
        )
        if isinstance(resolved, SeptemberError):
            raise resolved
        return HitlResumed(request_id=resolved.request_id)

    async def _task_of(self, request_id: str | None) -> str:
        for waiting in await self._engine.approvals.call(ListPending()):
            if waiting.request_id == request_id:
                return waiting.task_id
        raise SeptemberError(
            "TASK_NOT_FOUND",
            f"request_id: no request {request_id!r} waits; GET /hitl/pending lists those that do",
            {"request_id": request_id},
        )

    async def pending(self) -> Sequence[HitlRequest]:
        """Everything that waits for a person."""
        return [announcement(one) for one in await self._engine.approvals.call(ListPending())]

    async def permits(self) -> Sequence[StandingPermit]:
        """The answers that are remembered."""
        found = await self._engine.database.read(permits.standing)
        return [
            StandingPermit(
                permit_id=one.permit_id,
                tool=one.tool,
                subject=one.subject,
                scope=one.scope,
                task_id=one.task_id,
                created_at=iso(one.created_at),
            )
            for one in found
        ]

    async def revoke_permit(self, permit_id: str) -> None:
        """Forget a remembered answer."""
        revoke = partial(permits.revoke, permit_id=permit_id)
        if not await self._engine.database.write(revoke):
            raise SeptemberError(
                "NOT_FOUND",
                f"no answer {permit_id!r} is remembered; GET /permissions lists those that are",
                {"permit_id": permit_id},
            )

    async def decisions(self, task_id: str | None, limit: int) -> Sequence[PermissionDecision]:
        """What was decided."""
        read = partial(permits.noted, task_id=task_id, limit=limit)
        return [
            PermissionDecision(**msgspec.structs.asdict(one), created_at=iso(at))
            for one, at in await self._engine.database.read(read)
        ]

    async def conversations(self, limit: int, before: str | None) -> ConversationPage:
        """A page of tasks, latest first."""
        below = _position(before) if before is not None else None
        read = partial(conversations.page, limit=limit, below=below)
        found = await self._engine.database.read(read)
        following = _cursor(found[-1]) if len(found) == limit else None
        return ConversationPage(
            conversations=[ConversationSummary(**_shown(one)) for one in found],
            next_before=following,
        )

    async def conversation(self, task_id: str) -> Conversation:
        """One task with its transcript."""
        read = partial(conversations.show, task_id=task_id)
        summary, messages = await self._engine.database.read(read)
        return Conversation(
            **_shown(summary),
            messages=[
                StoredMessage(
                    message_id=one.message_id,
                    turn_id=one.turn_id,
                    role=one.message.role,
                    blocks=one.message.blocks,
                    created_at=iso(one.created_at),
                )
                for one in messages
            ],
        )

    async def media(self, media_id: str) -> MediaContent:
        """An attachment, with its bytes."""
        database = self._engine.database
        known = await database.read(partial(rows.find, media_id=media_id))
        data = await database.read(partial(rows.data_of, media_id=media_id))
        if known is None or data is None:
            raise SeptemberError(
                "NOT_FOUND",
                f"there is no attachment {media_id!r}; GET /conversations/… names those of a task",
                {"media_id": media_id},
            )
        return MediaContent(
            media_id=media_id,
            task_id=known.task_id,
            media_type=known.media_type,
            size=known.size,
            data=b64encode(data).decode(),
        )

    async def forget(self, task_id: str) -> None:
        """Delete a task, ending its turn first."""
        await self._engine.coordinator.call(tasks.CancelTask(task_id))
        await self._engine.database.write(partial(conversations.forget, task_id=task_id))

    async def agents(self) -> Sequence[AgentInfo]:
        """The agents of the catalog in force."""
        catalog = await self._engine.coordinator.call(tasks.GetCatalog())
        return [
            AgentInfo(
                name=agent.name,
                description=agent.description,
                tools=agent.tools,
                model=agent.model,
            )
            for agent in sorted(catalog.agents.values(), key=lambda agent: agent.name)
        ]

    async def reload_catalog(self) -> CatalogCounts:
        """Read the catalog folder again; a broken one is refused as a whole."""
        folder = self._engine.config.catalog_dir
        hooks = self._engine.config.hooks_settings_load_enabled
        load = partial(load_catalog, folder, hooks=hooks)
        catalog: Catalog = await trio.to_thread.run_sync(load)
        check_catalog(catalog, self._engine.tool_names)
        servers = await trio.to_thread.run_sync(load_servers, catalog_root(folder) / "servers")
        await self._engine.assets.call(UseServers(tuple(servers.values())))
        await self._engine.coordinator.call(tasks.UseCatalog(catalog))
        return CatalogCounts(
            agents=len(catalog.agents), skills=len(catalog.skills), tools=len(catalog.tools)
        )

    async def feedback(self, feedback: Feedback) -> None:
        """Keep a learning signal."""
        keep = partial(
            conversations.signal,
            task_id=feedback.task_id,
            turn_id=feedback.turn_id,
            text=feedback.signal,
            comment=feedback.comment,
        )
        await self._engine.database.write(keep)

    async def happenings(self, wanted: HappeningFilter) -> Sequence[Happening]:
        """The observability events that fit, up to this moment."""
        await self._written()
        return await self._engine.database.read(partial(happenings.page, wanted=wanted))

    async def life(self, actor: str, at: str | None) -> Life:
        """What is recorded of an actor's life, up to this moment."""
        recorder, at_work = self._engine.recorder, list[TraceRow]()
        if recorder is not None:
            with suppress(LookupError):
                at_work = recorder.at_work(self._engine.tree.ref(actor, Actor))
        await self._written()
        work = partial(lives.life, actor=actor, at=at, at_work=at_work)
        return await self._engine.database.read(work)

    async def recorded_turn(self, turn_id: str) -> RecordedTurn:
        """What is recorded of a turn, up to this moment."""
        await self._written()
        return await self._engine.database.read(partial(recorded_turn, turn_id=turn_id))

    async def _written(self) -> None:
        """Have written what was observed; a keeper that cannot write holds up no reader."""
        with suppress(ActorError):
            await self._engine.raven.call(Flush(), timeout=2.0)

    async def health(self) -> HealthReport:
        """How the Engine is; never raises."""
        uptime = time.monotonic() - self._began
        return await report(self._engine, uptime, draining=self._draining)

    async def save_keys(self, keys: KeyState) -> None:
        """Make a key rotation durable."""
        await save_keys(self._engine.database, keys)

    async def drain(self) -> None:
        """Accept no more turns; wait for those that run, then close what is left.

        A turn that waits for a person is left as it is: the next process takes it up.
        """
        self._draining = True
        coordinator = self._engine.coordinator
        try:
            await coordinator.call(tasks.Drain())
            with trio.move_on_after(self._engine.config.drain_timeout_s):
                await self._quiet()
            await coordinator.call(tasks.Abandon(), timeout=5.0)
        except ActorError:
            return  # what is left open is closed by the next process

    async def _quiet(self) -> None:
        """Wait until no turn runs or is about to."""
        while True:
            activity = await self._engine.coordinator.call(tasks.CountTurns())
            if not activity.running + activity.queued:
                return
            await trio.sleep(DRAIN_POLL_S)


def _shown(summary: Summary) -> dict[str, str]:
    return {
        "task_id": summary.task_id,
        "title": summary.title,
        "agent": summary.agent,
        "created_at": iso(summary.created_at),
        "updated_at": iso(summary.updated_at),
    }


def _cursor(last: Summary) -> str:
    place = msgspec.json.encode((last.updated_at, last.task_id))
    return urlsafe_b64encode(place).decode().rstrip("=")


def _position(cursor: str) -> Position:
    try:
        raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return Position(*msgspec.json.decode(raw, type=tuple[int, str]))
    except (ValueError, msgspec.DecodeError) as error:
        raise SeptemberError(
            "INVALID_REQUEST",
            "before: is no position; send next_before of the page before, or leave it out",
            {"field": "before"},
        ) from error
