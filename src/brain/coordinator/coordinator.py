"""The coordinator: accepts turns, one at a time for each task, and sees each to its end."""

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeAlias, assert_never

import msgspec
import trio

from ...actors import (
    Actor,
    ActorRef,
    ActorStopped,
    DynamicRef,
    Later,
    Message,
    Reply,
    current_span,
    work_span,
)
from ...errors import SeptemberError
from ...logs import get_logger
from ...traces.recorder import joining
from ..agent import closing, opening
from ..agent.closing import ABANDONED, CANCELLED, Ending
from ..agent.files import check_path
from ..agent.job import Job
from ..agent.request import TurnRequest
from ..agent.turn import Begin, CancelTurn, Turn, TurnMessage
from ..agent.workshop import Workshop
from ..catalog import DEFAULT_AGENT, Catalog
from ..channels.events import Heartbeat
from ..channels.log import append
from ..clock import new_id, timestamp
from ..media.rows import MediaItem
from . import records
from .records import NewTurn, OpenTurn
from .seating import SlotSeat
from .slots import Admit, CountSlots, Full, Release, SlotMessage

_log = get_logger("september.coordinator")

OnBusy: TypeAlias = Literal["reject", "queue", "interrupt"]


class Accepted(msgspec.Struct, frozen=True):
    """A turn that runs or will. Its events are those of `turn_id` with ids above `after`.

    `attached` says that it had been started before, under the same Idempotency-Key.
    """

    task_id: str
    turn_id: str
    after: int
    attached: bool = False


@dataclass(frozen=True, slots=True)
class StartTurn(Message["Accepted | SeptemberError"]):
    """Run a turn in a task (contract, section 4)."""

    task_id: str
    request: TurnRequest
    on_busy: OnBusy = "reject"
    idempotency_key: str | None = None
    media: tuple[MediaItem, ...] = field(default=(), repr=False)


class Stopped(msgspec.Struct, frozen=True):
    """What a cancel did. `turn_id` is None when nothing ran."""

    turn_id: str | None


class CancelTask(Message[Stopped], msgspec.Struct, frozen=True):
    """End the task's running turn; those that wait behind it are cancelled too."""

    task_id: str


class TurnDown(Message[None], msgspec.Struct, frozen=True):
    """A Turn actor is gone; `crash` is why, if it did not end by itself."""

    turn_id: str
    crash: Exception | None


class Activity(msgspec.Struct, frozen=True):
    """What is going on: turns that run, that wait for a slot, that wait for a person."""

    running: int
    queued: int
    asking: int


class CountTurns(Message[Activity], msgspec.Struct, frozen=True):
    """How many turns run and wait."""


class Drain(Message[None], msgspec.Struct, frozen=True):
    """Accept nothing more."""


class Abandon(Message[None], msgspec.Struct, frozen=True):
    """Close every turn that still runs; what waits for a person is taken up after a restart."""


class GetCatalog(Message[Catalog], msgspec.Struct, frozen=True):
    """The catalog in force."""


@dataclass(frozen=True, slots=True)
class UseCatalog(Message[None]):
    """Use this catalog from the next turn on."""

    catalog: Catalog = field(repr=False)


CoordinatorMessage: TypeAlias = (
    StartTurn | CancelTask | TurnDown | CountTurns | Drain | Abandon | GetCatalog | UseCatalog
)


class _Task(msgspec.Struct):
    """A task with a turn: the one that runs, and those behind it."""

    running: NewTurn
    ref: ActorRef[TurnMessage]
    line: deque[NewTurn] = msgspec.field(default_factory=deque[NewTurn])


class Coordinator(Actor[CoordinatorMessage]):
    """Owns which turn runs in which task."""

    urgent = (TurnDown,)
    replayable = True

    def __init__(
        self,
        workshop: Workshop,
        slots: ActorRef[SlotMessage],
        turns: DynamicRef[TurnMessage],
        catalog: Catalog,
    ) -> None:
        self._workshop = workshop
        self._slots = slots
        self._turns = turns
        self._catalog = catalog
        self._tasks: dict[str, _Task] = {}
        self._draining = False

    async def started(self) -> None:
        for turn in await self._workshop.database.read(records.unfinished):
            await self._recover(turn)

    async def handle(self, msg: CoordinatorMessage) -> Reply | Later:
        match msg:
            case StartTurn():
                return msg.reply(await self._start(msg))
            case CancelTask(task_id):
                return await self._cancel(msg, task_id)
            case TurnDown(turn_id, crash):
                await self._ended(turn_id, crash)
                return msg.done()
            case CountTurns():
                return msg.reply(await self._count())
            case Drain():
                self._draining = True
                return msg.done()
            case Abandon():
                return msg.reply_after(partial(_end_all, await self._busy(), ABANDONED))
            case GetCatalog():
                return msg.reply(self._catalog)
            case UseCatalog(catalog):
                self._catalog = catalog
                return msg.done()
            case _:
                assert_never(msg)

    async def _start(self, msg: StartTurn) -> Accepted | SeptemberError:
        try:
            return await self._repeated(msg) or await self._accept(msg)
        except SeptemberError as refusal:
            return refusal

    async def _repeated(self, msg: StartTurn) -> Accepted | None:
        if msg.idempotency_key is None:
            return None
        found = await self._workshop.database.read(
            partial(records.repeated, key=msg.idempotency_key)
        )
        return Accepted(*found, attached=True) if found is not None else None

    async def _accept(self, msg: StartTurn) -> Accepted:
        await self._check(msg)
        turn = NewTurn(new_id("turn"), msg.task_id, msg.request, msg.idempotency_key, _trace_id())
        standing = self._tasks.get(msg.task_id)
        if standing is None:
            ahead = await self._admit(turn.turn_id)
            accepted = await self._record(turn, ahead, msg.media)
            await self._run(turn)
            return accepted
        accepted = await self._record(turn, len(standing.line) + 1, msg.media)
        if msg.on_busy == "interrupt":
            standing.line.appendleft(turn)
            standing.ref.cast(CancelTurn(CANCELLED))
        else:
            standing.line.append(turn)
        return accepted

    async def _check(self, msg: StartTurn) -> None:
        """Refuse what cannot run; raises SeptemberError."""
        if self._draining:
            raise records.DRAINING
        request, database = msg.request, self._workshop.database
        if request.agent not in self._catalog.agents:
            raise records.unknown_agent(request.agent, list(self._catalog.agents))
        for path in request.files:
            check_path(path)
        if request.edit_message_id or request.retry_message_id:
            await database.read(partial(opening.plan, task_id=msg.task_id, request=request))
        await self._check_standing(msg)

    async def _check_standing(self, msg: StartTurn) -> None:
        standing = self._tasks.get(msg.task_id)
        if standing is None or msg.on_busy == "interrupt":
            return
        turn_id = standing.running.turn_id
        state = partial(records.standing, task_id=msg.task_id, turn_id=turn_id)
        match await self._workshop.database.read(state):
            case "asking":
                raise records.asks(msg.task_id, turn_id)
            case "open" if msg.on_busy == "reject":
                raise records.busy(msg.task_id, turn_id)
            case _:
                # It has told its client that it ended, and is only being put away: no conflict.
                return

    async def _admit(self, turn_id: str) -> int:
        admission = await self._slots.call(Admit(turn_id))
        if isinstance(admission, Full):
            raise records.crowded(admission.waiting)
        return admission.ahead

    async def _record(self, turn: NewTurn, ahead: int, media: tuple[MediaItem, ...]) -> Accepted:
        beat = (Heartbeat(timestamp=timestamp(), queued=ahead),) if ahead else ()
        keep = partial(records.accept, turn=turn, media=media)
        try:
            last = await append(self._workshop.log, turn.task_id, turn.turn_id, beat, keep)
        except Exception:
            self._slots.cast(Release(turn.turn_id))
            raise
        return Accepted(turn.task_id, turn.turn_id, last - len(beat))

    async def _run(self, turn: NewTurn, *, resumed: bool = False) -> None:
        """Start the turn's actor, keeping the line behind the one before."""
        agents = self._catalog.agents
        job = Job(
            turn.task_id,
            turn.turn_id,
            agents.get(turn.request.agent) or agents[DEFAULT_AGENT],
            self._catalog,
            turn.request,
            SlotSeat(self._slots, turn.turn_id),
            resumed,
        )
        ref = await self._turns.start(turn.turn_id, partial(Turn, self._workshop, job))
        self._adopt(turn, ref)
        ref.cast(Begin())

    def _adopt(self, turn: NewTurn, ref: ActorRef[TurnMessage]) -> None:
        before = self._tasks.get(turn.task_id)
        line = before.line if before is not None else deque[NewTurn]()
        self._tasks[turn.task_id] = _Task(turn, ref, line)
        ref.watch(self.ref, lambda down: TurnDown(turn.turn_id, down.reason))

    async def _ended(self, turn_id: str, crash: Exception | None) -> None:
        """Put an ended turn away and start the one behind it."""
        self._slots.cast(Release(turn_id))
        task = next((t for t in self._tasks.values() if t.running.turn_id == turn_id), None)
        if task is None:
            return
        if crash is not None:
            _log.error("turn crashed", turn_id=turn_id, exc_info=crash)
        await self._close(task.running, _crashed(task.running.trace_id))
        if task.line:
            await self._run(task.line.popleft())
        else:
            del self._tasks[task.running.task_id]

    async def _close(self, turn: NewTurn, ending: Ending) -> None:
        """Close a turn from outside; one that cannot be written now is closed at the next boot."""
        workshop = self._workshop
        try:
            await closing.close(workshop.database, workshop.log, turn.task_id, turn.turn_id, ending)
        except SeptemberError:
            _log.exception("turn left open", turn_id=turn.turn_id)

    async def _cancel(self, msg: CancelTask, task_id: str) -> Reply | Later:
        task = self._tasks.get(task_id)
        if task is None:
            return msg.reply(Stopped(None))
        while task.line:
            await self._close(task.line.popleft(), CANCELLED)
        return msg.reply_after(partial(_cancelled, task.ref, task.running.turn_id))

    async def _busy(self) -> list[ActorRef[TurnMessage]]:
        """The turns that do not wait for a person."""
        asking = await self._workshop.database.read(records.asking)
        return [task.ref for task_id, task in self._tasks.items() if task_id not in asking]

    async def _count(self) -> Activity:
        busy = len(await self._busy())
        waiting = (await self._slots.call(CountSlots())).waiting
        lined = sum(len(task.line) for task in self._tasks.values())
        return Activity(max(0, busy - waiting), waiting + lined, len(self._tasks) - busy)

    async def _recover(self, found: OpenTurn) -> None:
        """A turn without an ending: adopt it if it runs, run it if it is safe to, or close it."""
        turn = found.turn
        alive = self._turns.get(turn.turn_id)
        if alive is not None:
            self._adopt(turn, alive)
        elif turn.task_id in self._tasks and found.status == "queued":
            self._tasks[turn.task_id].line.append(turn)
        elif found.asks or found.status == "queued":
            await self._run(turn, resumed=found.asks)
        else:
            await self._repair(turn)

    async def _repair(self, turn: NewTurn) -> None:
        """Close a turn whose process ended, within the turn's own trace."""
        with work_span("repair turn", turn, traceparent=joining(turn.trace_id)) as span:
            span.outcome, span.detail = closing.INTERRUPTED.code, closing.INTERRUPTED.message
            await self._close(turn, ABANDONED)


async def _cancelled(ref: ActorRef[TurnMessage], turn_id: str) -> Stopped:
    await _end(ref, CANCELLED)
    return Stopped(turn_id)


async def _end_all(turns: list[ActorRef[TurnMessage]], ending: Ending) -> None:
    async with trio.open_nursery() as nursery:
        for ref in turns:
            nursery.start_soon(_end, ref, ending)


async def _end(ref: ActorRef[TurnMessage], ending: Ending) -> None:
    # A turn that has ended by itself, or crashed and is being closed, needs no ending.
    with suppress(ActorStopped):
        await ref.call(CancelTurn(ending))


def _crashed(trace_id: str) -> Ending:
    error = SeptemberError(
        "INTERNAL",
        "the turn failed inside the Engine; what you saw is kept: send the message again",
        {"trace_id": trace_id},
    )
    return Ending("errored", "interrupted", error)


def _trace_id() -> str:
    span = current_span()
    return f"{span.trace_id:032x}" if span is not None else ""
