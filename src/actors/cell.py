"""A cell: one address in the tree, which outlives the incarnations of its actor.

The mailbox, the state and the figures live here, so that a ref stays good across restarts.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TypeAlias

import trio

from .errors import ActorCrashed, ActorStopped, MailboxFull
from .mailbox import Mailbox, Overflow
from .message import Later
from .runtime import Runtime
from .span import IDS, Scope
from .state import MOVES, State
from .trace import Event, Kind, Record, span_hex
from .wake import wake


class Envelope(Scope):
    """A message on its way: who waits for it, its span, its times (seconds, trace clock)."""

    __slots__ = (
        "answered",
        "began_at",
        "caller",
        "cell",
        "ended_at",
        "error",
        "incarnation",
        "keeps",
        "message",
        "outcome",
        "sends",
        "sent_at",
        "value",
        "work",
    )

    answered: object
    """What was answered, kept for the trace; None but for calls that `keeps` it."""
    keeps: bool
    """Whether the trace keeps the answer: one of the two actors is `replayable`."""
    error: BaseException | None
    """What the caller hears, or None; set, as `value` and `keeps` are, once there is a caller."""
    value: object
    work: trio.CancelScope | None
    outcome: str
    """How the handling ended; set, as `ended_at` and `incarnation` are, by then."""
    ended_at: float
    incarnation: int

    def __init__(
        self, message: object, cell: "Cell", sender: Scope | None, deadline: float
    ) -> None:
        # Every message pays for each line: Scope.__init__ is repeated, what few need is left unset.
        self.span_id = span_id = next(IDS.spans)
        self.deadline = deadline
        self.holder = None
        self.waits = None
        if sender is None:
            self.trace_id = IDS.trace_prefix | span_id
            self.parent_id = 0
        else:
            self.trace_id = sender.trace_id
            self.parent_id = sender.span_id
        self.message = message
        self.cell = cell
        self.caller: trio.lowlevel.Task | None = None
        self.work = self.answered = None
        self.sends = False
        clock = cell.runtime.clock
        self.sent_at = self.began_at = clock() if clock is not None else 0.0

    def answer(self, value: object) -> None:
        """Hand the answer to whoever waits, and close the span."""
        task = self.caller
        if task is not None:
            self.caller = None
            self.value = value
            if self.keeps:
                self.answered = value
            wake(task)
        self.close("ok")

    def fail(self, error: BaseException, outcome: str) -> None:
        """Hand `error` to whoever waits, and close the span."""
        task = self.caller
        if task is not None:
            self.caller = None
            self.error = error
            wake(task)
        self.close(outcome)

    def await_answer(self, caller: trio.lowlevel.Task, sender: Scope | None) -> None:
        """Note who waits for the answer."""
        self.error = self.value = None
        self.keeps = self.cell.replayable or (sender is not None and remembers(sender))
        self.caller = caller

    def close(self, outcome: str) -> None:
        """Close the span: this message will not be looked at again."""
        trace = self.cell.runtime.trace
        if trace is not None:
            self.incarnation = self.cell.incarnation
            trace.handled(self, outcome)

    def record(self) -> Record:
        """Make the readable form."""
        return Record(
            kind=Kind.MESSAGE,
            at=self.began_at,
            trace_id=f"{self.trace_id:032x}",
            span_id=span_hex(self.span_id),
            parent_id=span_hex(self.parent_id),
            path=self.cell.path,
            incarnation=self.incarnation,
            message_type=type(self.message).__name__,
            message=self.message,
            wait_us=(self.began_at - self.sent_at) * 1e6,
            handling_us=(self.ended_at - self.began_at) * 1e6,
            outcome=self.outcome,
            detail="",
            answer=self.answered,
        )


def remembers(sender: Scope) -> bool:
    """Whether the trace keeps what the sender is answered: a replay of it needs that."""
    asking = sender.holder or sender
    return isinstance(asking, Envelope) and asking.cell.replayable


@dataclass(frozen=True, slots=True)
class StopSignal:
    """Finish the message in hand, then stop."""


@dataclass(frozen=True, slots=True)
class CrashSignal:
    """A handler that ran in its caller's task has crashed."""

    envelope: Envelope
    error: Exception


@dataclass(frozen=True, slots=True)
class WorkSignal:
    """There is work to begin beside the inbox."""

    envelope: Envelope
    later: Later


Signal: TypeAlias = StopSignal | CrashSignal | WorkSignal
Handler: TypeAlias = Callable[[object], Coroutine[object, None, object]]
Listener: TypeAlias = Callable[[Exception | None, bool], None]


class Cell:
    """One address: state, mailbox, figures. `boss` is the supervisor's own cell."""

    __slots__ = (
        "birth",
        "boss",
        "current",
        "handled",
        "incarnation",
        "inline",
        "last_event",
        "listeners",
        "mailbox",
        "overflow",
        "path",
        "reason",
        "replayable",
        "restarts",
        "runtime",
        "signals",
        "state",
        "to_start",
        "urgent",
        "working",
    )

    def __init__(
        self,
        path: str,
        runtime: Runtime,
        boss: "Cell | None" = None,
        *,
        capacity: int = 256,
        overflow: Overflow = Overflow.WAIT,
        urgent: frozenset[type] = frozenset(),
    ) -> None:
        self.path = path
        self.runtime = runtime
        self.boss = boss
        self.state = State.NEW
        self.incarnation = 0
        self.reason: Exception | None = None
        """Why the last incarnation ended: its crash, or None for a normal end."""
        self.restarts = 0
        self.handled = 0
        self.mailbox: Mailbox[Envelope] = Mailbox(capacity, _let_go)
        self.overflow = overflow
        self.urgent = urgent
        self.signals: list[Signal] = []
        self.current: Envelope | None = None
        """The message in hand; nothing else is taken before it is done."""
        self.working: dict[Envelope, None] | None = None
        """The messages whose work runs beside the inbox."""
        self.birth: Envelope | None = None
        """Stands for the start of the next incarnation, if somebody waits for it."""
        self.to_start: tuple[Cell, ...] = ()
        """Of a supervisor: the children it is starting one after the other, the first now."""
        self.replayable = False
        self.inline: Handler | None = None
        """The handler, while it may run in a caller's task: proven never to suspend."""
        self.last_event: Event | None = None
        self.listeners: list[Listener] = []

    @property
    def ready_inline(self) -> bool:
        """Whether a caller may run the handler itself: the actor waits for its next message."""
        return self.inline is not None and self.mailbox.reader is not None

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

    def begin_work(self, envelope: Envelope, later: Later) -> None:
        """Have the actor's task begin work beside the inbox."""
        if self.working is None:
            self.working = {}
        self.working[envelope] = None
        envelope.work = trio.CancelScope()
        self.signal(WorkSignal(envelope, later))

    def accept_call(self, envelope: Envelope) -> None:
        """Put a call or a `send` into its lane, or in line for room."""
        if self.urgent and type(envelope.message) in self.urgent:
            self.mailbox.push_urgent(envelope)
        elif not self.mailbox.offer(envelope):
            self.mailbox.stand_in_line(envelope)
            return
        _let_go(envelope)

    def accept_cast(self, envelope: Envelope) -> None:
        """Put a cast into its lane; when that is full, do what the policy says."""
        if self.state is State.STOPPED:
            self.lose(envelope, "stopped")
        elif self.urgent and type(envelope.message) in self.urgent:
            if self.mailbox.urgent >= self.mailbox.capacity:
                self._refuse(envelope)
            self.mailbox.push_urgent(envelope)
        elif not self.mailbox.offer(envelope):
            self._overflow(envelope)

    def notify(self, envelope: Envelope) -> None:
        """Put a notice of the runtime into the urgent lane, whatever its type."""
        if self.state is State.STOPPED:
            self.lose(envelope, "stopped")
        else:
            self.mailbox.push_urgent(envelope)

    def begin(self) -> None:
        """Open the next incarnation."""
        self.move(State.STARTING)
        self.incarnation += 1
        self.reason = None
        self.decide(Kind.SPAWN, self.birth)

    def stillborn(self) -> None:
        """Close the span of a start that did not come as far as its actor."""
        birth, self.birth = self.birth, None
        if birth is not None:
            birth.close("crashed")

    def conclude(self, reason: Exception | None) -> None:
        """Close this incarnation; what follows is for the supervisor to decide."""
        if self.state is not State.STOPPING:
            self.move(State.STOPPING)
        self.move(State.ENDED)
        self.reason = reason
        self.signals.clear()

    def settle(self, *, final: bool) -> None:
        """Say what follows the incarnation that ended: another one, or, with `final`, nothing.

        Whoever watches hears it; with `final`, whatever still waits here is lost.
        """
        if self.state is State.STOPPED or not (final or self.state is State.ENDED):
            return
        self.move(State.STOPPED if final else State.DOWN)
        if final:
            self.decide(Kind.STOP, None, repr(self.reason) if self.reason else "")
            self.forget("stopped")
        for listener in tuple(self.listeners):
            listener(self.reason, final)

    def forget(self, why: str) -> None:
        """Lose everything that is still unread."""
        for envelope in self.mailbox.drain():
            self.lose(envelope, why)

    def lose(self, envelope: Envelope, why: str) -> None:
        """A message that will never be handled: its caller hears, or it is a dead letter."""
        if envelope.caller is not None:
            envelope.fail(ActorStopped(self.path, f"has {why}"), why)
            return
        trace = self.runtime.trace
        if trace is not None:
            trace.event(
                Kind.DEAD_LETTER,
                self.path,
                self.incarnation,
                lost=envelope,
                message=envelope.message,
                detail=why,
            )

    def fail_held(self, error: Exception | None) -> None:
        """Fail what the ending incarnation held: the message in hand and its unfinished work."""
        held = list(self.working or ())
        if self.current is not None:
            held.append(self.current)
        self.current = self.working = None
        for envelope in held:
            if error is None:
                envelope.fail(ActorStopped(self.path), "stopped")
            else:
                envelope.fail(crashed(self.path, error), "crashed")

    def observe(
        self, kind: Kind, cause: Scope | Event | None = None, detail: str = ""
    ) -> Event | None:
        """Trace something about this actor, if there is a trace."""
        trace = self.runtime.trace
        if trace is None:
            return None
        return trace.event(kind, self.path, self.incarnation, cause=cause, detail=detail)

    def decide(self, kind: Kind, cause: Scope | None = None, detail: str = "") -> None:
        """Trace a step of this actor's life; each is the cause of the next."""
        self.last_event = self.observe(kind, cause or self.last_event, detail)

    def _overflow(self, envelope: Envelope) -> None:
        mailbox = self.mailbox
        match self.overflow:
            case Overflow.WAIT if mailbox.in_line < mailbox.capacity:
                mailbox.stand_in_line(envelope)
            case Overflow.DROP_OLDEST:
                self._displace(envelope)
            case _:
                self._refuse(envelope)

    def _displace(self, envelope: Envelope) -> None:
        """Make room by losing casts, the oldest first; calls in line take it before a cast."""
        while not self.mailbox.offer(envelope):
            lost = self.mailbox.drop_oldest(lambda old: old.caller is None)
            self.lose(lost or envelope, "dropped")
            if lost is None:
                return

    def _refuse(self, envelope: Envelope) -> None:
        self.lose(envelope, "mailbox full")
        raise MailboxFull(self.path, self.mailbox.capacity)


def crashed(path: str, error: BaseException) -> ActorCrashed:
    """Make what the caller of the message in hand hears."""
    heard = ActorCrashed(path, error)
    heard.__cause__ = error
    return heard


def _let_go(envelope: Envelope) -> None:
    """A `send` waits for room only, not for the handling."""
    if envelope.sends:
        task = envelope.caller
        envelope.caller = None
        envelope.sends = False
        if task is not None:
            wake(task)
