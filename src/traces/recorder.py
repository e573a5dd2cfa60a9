"""Between the trace's sink and a database: keeps observations until they are taken, or counts them.

The sink runs while messages are handled, so it only appends. Rendering and scrubbing happen when
the rows are taken, a bounded number at a time.
"""

import time
from collections import deque
from collections.abc import Sequence
from typing import Final, Never

import trio

from ..actors import ActorRef, Record, Trace, Traced
from .life import UNFINISHED
from .render import Renderer
from .row import FAULTS, Losses, TraceRow

ROOM: Final = 16_384
"""Observations that wait for the database, at most: what is written in four seconds."""

_OWN_TRACE: Final = f"{1:032x}"
_OWN_PARENT: Final = f"{1:016x}"

SILENT: Final = f"00-{_OWN_TRACE}-{_OWN_PARENT}-00"
"""Traceparent of work that is not recorded unless it fails: the recorder's own, and probes."""


def joining(trace_id: str) -> str:
    """The traceparent of work that belongs to this trace, without a cause within it."""
    return f"00-{trace_id}-{_OWN_PARENT}-01"


_DETAIL_LENGTH: Final = 1_000


class Recorder:
    """Takes every observation of `trace`; `renderer` makes them safe to keep.

    Lives as long as the process, so that what happens while its reader restarts is kept too.
    """

    def __init__(self, trace: Trace, renderer: Renderer, room: int = ROOM) -> None:
        self._renderer = renderer
        self._room = room
        self._messages: deque[Traced] = deque()
        self._events: deque[Traced] = deque()
        self._lost = 0
        self._lost_told = 0
        self._lost_to_store = 0
        self._waiting: trio.Event | None = None
        self._epoch_us = time.time() * 1e6 - trace.clock() * 1e6
        self.began_at = int(time.time() * 1e6)
        """When this process began to observe, in microseconds since the epoch."""
        self._trace = trace
        trace.gather(self._gather)
        trace.attach(self._observe, messages=False)

    def _gather(self, messages: Sequence[Traced]) -> None:
        room = self._room - len(self._messages)
        self._messages.extend(messages[:room])
        self._lost += max(0, len(messages) - room)
        self._wake()

    def _observe(self, traced: Traced) -> None:
        # A span has no kind of its own: what has one is an event.
        queue = self._events if hasattr(traced, "kind") else self._messages
        if len(queue) >= self._room:
            self._lost += 1
        else:
            queue.append(traced)
            self._wake()

    def _wake(self) -> None:
        waiting = self._waiting
        if waiting is not None:
            waiting.set()
            self._waiting = None

    async def wait(self) -> None:
        """Return when there is something to take."""
        self._trace.hand_on()
        if not self._messages and not self._events:
            self._trace.hurry()
            self._waiting = self._waiting or trio.Event()
            await self._waiting.wait()

    def take(self, most: int) -> list[Traced]:
        """Take the next observations, events first, at most `most` of them."""
        self._trace.hand_on()
        taken: list[Traced] = []
        for queue in (self._events, self._messages):
            while queue and len(taken) < most:
                taken.append(queue.popleft())
        return taken

    def rows(self, taken: list[Traced]) -> list[TraceRow]:
        """Make rows of what was taken, without secrets; may run in a thread.

        Silent work is left out unless it failed. A row that tells of losses comes last.
        """
        records = (traced.record() for traced in taken)
        rows = [self._row(record) for record in records if not _silent(record)]
        return [*rows, *self._loss()]

    def at_work(self, ref: ActorRef[Never]) -> list[TraceRow]:
        """What an actor is handling now, as rows that are stored only when it is over."""
        cell = ref.cell
        held = [*(cell.working or ()), *([cell.current] if cell.current is not None else ())]
        for envelope in held:  # all three are set again when it is over
            envelope.incarnation, envelope.outcome = cell.incarnation, UNFINISHED
            envelope.ended_at = envelope.began_at
        records = (envelope.record() for envelope in held)
        return [self._row(record) for record in records if not _silent(record)]

    def gave_up(self, rows: int) -> None:
        """Count rows that could not be stored."""
        self._lost_to_store += rows

    @property
    def losses(self) -> Losses:
        """What was not kept since the process began."""
        self._trace.hand_on()
        return Losses(overload=self._lost, store=self._lost_to_store)

    @property
    def backlog(self) -> int:
        """How many observations wait."""
        self._trace.hand_on()
        return len(self._messages) + len(self._events)

    def _loss(self) -> list[TraceRow]:
        lost, told = self._lost, self._lost_told
        if lost == told:
            return []
        self._lost_told = lost
        now = time.time_ns()
        return [
            TraceRow(
                kind="loss",
                at=now // 1000,
                trace_id=_OWN_TRACE,
                span_id=f"{now:016x}",
                path="recorder",
                outcome="loss",
                detail=f"{lost - told} observations were not recorded: there were too many",
            )
        ]

    def _row(self, record: Record) -> TraceRow:
        render = self._renderer
        turn_id = _identity(record.message, "turn_id") or _turn_of(record.path)
        return TraceRow(
            kind=record.kind.value,
            at=int(record.at * 1e6 + self._epoch_us),
            trace_id=record.trace_id,
            span_id=record.span_id,
            parent_id="" if record.parent_id == _OWN_PARENT else record.parent_id,
            path=render.text(record.path),
            incarnation=record.incarnation,
            message_type=record.message_type,
            message=render.message(record.message),
            wait_us=max(0, int(record.wait_us)),
            handling_us=max(0, int(record.handling_us)),
            outcome=record.outcome,
            detail=self._detail(record),
            task_id=_identity(record.message, "task_id"),
            turn_id=turn_id,
        )

    def _detail(self, record: Record) -> str:
        """What else there is to say; of a message that went well, what it was answered."""
        if record.detail:
            return self._renderer.text(record.detail, _DETAIL_LENGTH)
        return self._renderer.answer(record.answer) if record.outcome == "ok" else ""


def _silent(record: Record) -> bool:
    return record.trace_id == _OWN_TRACE and record.kind.value not in FAULTS


def _identity(message: object, name: str) -> str:
    found = getattr(message, name, None)
    return found[:512] if isinstance(found, str) else ""


def _turn_of(path: str) -> str:
    """The turn whose actor this is: the Engine's turns are the children of `turns`."""
    _, found, turn = path.partition("/turns/")
    return turn.partition("/")[0] if found else ""
