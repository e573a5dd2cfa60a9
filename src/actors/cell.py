"""A cell: one address in the tree, which outlives the incarnations of its actor.

The mailbox, the state and the figures live here, so that a ref stays good across restarts.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

import trio

from .errors import ActorCrashed, ActorError, ActorStopped, MailboxFull
from .mailbox import Mailbox
from .message import Later
from .span import Scope
from .trace import Event, Kind, Record, Trace, span_hex


class State(Enum):
    """Where an actor is in its life."""

    NEW = "new"  # has an address, has never run
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    DOWN = "down"  # between incarnations: the supervisor decides, or waits out a backoff
    STOPPED = "stopped"


MOVES: Final[Mapping[State, frozenset[State]]] = {
    State.NEW: frozenset({State.STARTING, State.STOPPED}),
    State.STARTING: frozenset({State.RUNNING, State.STOPPING}),
    State.RUNNING: frozenset({State.STOPPING}),
    State.STOPPING: frozenset({State.DOWN}),
    State.DOWN: frozenset({State.STARTING, State.STOPPED}),
    State.STOPPED: frozenset({State.STARTING}),  # its group is being restarted
}


class Overflow(Enum):
    """What a cast does when the mailbox is full. A call always waits for room."""

    WAIT = "wait"
    """Stands in line for room, as a call does; the line is as long as the mailbox, then FAIL."""
    DROP_OLDEST = "drop_oldest"
    """The oldest cast in the mailbox becomes a dead letter; a call is never dropped."""
    FAIL = "fail"
    """`cast` raises MailboxFull."""


class Runtime:
    """What all cells of one tree share."""

    __slots__ = ("inline_calls", "trace")

    def __init__(self, trace: Trace | None) -> None:
        self.trace = trace
        self.inline_calls = 0


class Envelope(Scope):
    """A message on its way: who waits for it, its span, its times (seconds, trace clock)."""

    __slots__ = ("began_at", "caller", "cell", "ended_at", "error", "incarnation", "message")
    __slots__ += ("outcome", "sent_at", "value", "work")

    def __init__(
        self, message: object, cell: "Cell", sender: Scope | None, deadline: float
    ) -> None:
        Scope.__init__(self, sender, deadline)
        self.message = message
        self.cell = cell
        self.caller: trio.lowlevel.Task | None = None
        self.error: BaseException | None = None
        self.value: object = None
        self.work: trio.CancelScope | None = None
        self.outcome = ""
        trace = cell.runtime.trace
        self.sent_at = self.began_at = trace.clock() if trace is not None else 0.0

    def answer(self, value: object) -> None:
        """Hand the answer to whoever waits, and close the span."""
        self.value = value
        self._close("ok")

    def fail(self, error: BaseException, outcome: str) -> None:
        """Hand `error` to whoever waits, and close the span."""
        self.error = error
        self._close(outcome)

    def record(self) -> Record:
        """Make the readable form."""
        return Record(
            Kind.MESSAGE,
            self.began_at,
            f"{self.trace_id:032x}",
            span_hex(self.span_id),
            span_hex(self.parent_id),
            self.cell.path,
            self.incarnation,
            type(self.message).__name__,
            self.message,
            (self.began_at - self.sent_at) * 1e6,
            (self.ended_at - self.began_at) * 1e6,
            self.outcome,
            "",
        )

    def _close(self, outcome: str) -> None:
        cell = self.cell
        trace = cell.runtime.trace
        if trace is not None:
            self.outcome = outcome
            self.incarnation = cell.incarnation
            self.ended_at = trace.clock()
            trace.handled(self)
        task = self.caller
        if task is not None:
            self.caller = None
            trio.lowlevel.reschedule(task)


@dataclass(frozen=True, slots=True)
class StopSignal:
    """Finish the message in hand, then stop."""


@dataclass(frozen=True, slots=True)
class CrashSignal:
    """A handler that ran inside its caller's task has crashed."""

    envelope: Envelope
    error: Exception


@dataclass(frozen=True, slots=True)
class WorkSignal:
    """A handler that ran inside its caller's task asked for work beside the inbox."""

    envelope: Envelope
    later: Later


Signal = StopSignal | CrashSignal | WorkSignal

Handler = Callable[[object], Awaitable[object]]


class Cell:
    """One address: state, mailbox, figures."""

    __slots__ = (
        "current",
        "handled",
        "incarnation",
        "inline",
        "last_event",
        "mailbox",
        "on_end",
        "overflow",
        "path",
        "restarts",
        "runtime",
        "signals",
        "state",
        "urgent",
        "working",
    )

    def __init__(
        self,
        path: str,
        runtime: Runtime,
        *,
        capacity: int = 256,
        overflow: Overflow = Overflow.WAIT,
        urgent: frozenset[type] = frozenset(),
    ) -> None:
        self.path = path
        self.runtime = runtime
        self.state = State.NEW
        self.incarnation = 0
        self.restarts = 0
        self.handled = 0
        self.mailbox: Mailbox[Envelope] = Mailbox(capacity)
        self.overflow = overflow
        self.urgent = urgent
        self.signals: deque[Signal] = deque()
        self.current: Envelope | None = None
        self.working: set[Envelope] = set()
        self.inline: Handler | None = None
        self.last_event: Event | None = None
        self.on_end: list[Callable[[Exception | None, bool], None]] = []

    def move(self, state: State) -> None:
        """Go to `state`; a move the table does not have is a bug of the runtime."""
        if state not in MOVES[self.state]:
            raise RuntimeError(f"{self.path}: no move from {self.state.value} to {state.value}")
        self.state = state

    def signal(self, signal: Signal) -> None:
        """Tell the actor's task something that no full mailbox can hold up."""
        self.signals.append(signal)
        self.mailbox.wake()

    def ask_to_stop(self) -> None:
        """Let the actor finish the message in hand and then stop."""
        self.signal(StopSignal())

    def accept_call(self, envelope: Envelope) -> None:
        """Put a call into its lane, or in line for room."""
        if type(envelope.message) in self.urgent:
            self.mailbox.push_urgent(envelope)
        elif not self.mailbox.offer(envelope):
            self.mailbox.queue_up(envelope)

    def accept_cast(self, envelope: Envelope) -> None:
        """Put a cast into its lane; when that is full, do what the policy says."""
        if type(envelope.message) in self.urgent:
            self.mailbox.push_urgent(envelope)
        elif not self.mailbox.offer(envelope):
            self._overflow(envelope)

    def end(self, reason: Exception | None, *, final: bool) -> None:
        """Close this incarnation; with `final`, for good: nothing that waits will be handled."""
        if final:
            self.move(State.STOPPED)
            self.observe(Kind.STOP, self.last_event, detail=repr(reason) if reason else "")
            self.forget("stopped")
        for listener in tuple(self.on_end):
            listener(reason, final)

    def forget(self, why: str) -> None:
        """Lose everything that is still unread."""
        for envelope in self.mailbox.drain():
            self.lose(envelope, why)

    def lose(self, envelope: Envelope, why: str) -> None:
        """A message that will never be handled: its caller hears, or it is a dead letter."""
        trace = self.runtime.trace
        if envelope.caller is not None:
            envelope.fail(ActorStopped(self.path), why)
        elif trace is not None:
            trace.event(
                Kind.DEAD_LETTER,
                self.path,
                self.incarnation,
                cause=envelope,
                message=envelope.message,
                detail=why,
            )

    def fail_held(self, error: BaseException | None) -> None:
        """Fail what the ending incarnation held: the message in hand and its unfinished work."""
        held = [*self.working]
        if self.current is not None:
            held.append(self.current)
        self.current = None
        self.working.clear()
        for envelope in held:
            self._fail_one(envelope, error)

    def observe(
        self, kind: Kind, cause: "Scope | Event | None" = None, detail: str = ""
    ) -> Event | None:
        """Trace something about this actor, if there is a trace."""
        trace = self.runtime.trace
        if trace is None:
            return None
        event = trace.event(kind, self.path, self.incarnation, cause=cause, detail=detail)
        self.last_event = event
        return event

    def _fail_one(self, envelope: Envelope, error: BaseException | None) -> None:
        heard: ActorError
        if error is None:
            heard = ActorStopped(self.path)
        else:
            heard = ActorCrashed(self.path, error)
            heard.__cause__ = error
        envelope.fail(heard, "stopped" if error is None else "crashed")

    def _overflow(self, envelope: Envelope) -> None:
        mailbox = self.mailbox
        if self.overflow is Overflow.WAIT and mailbox.in_line < mailbox.capacity:
            mailbox.queue_up(envelope)
            return
        if self.overflow is Overflow.DROP_OLDEST:
            lost = mailbox.drop_oldest(lambda old: old.caller is None)
            if lost is None:
                self.lose(envelope, "dropped")
                return
            self.lose(lost, "dropped")
            mailbox.offer(envelope)
            return
        self.lose(envelope, "mailbox full")
        raise MailboxFull(self.path, mailbox.capacity)
