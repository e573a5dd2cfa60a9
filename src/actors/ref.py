"""Refs: how one talks to an actor, from another actor or from any other task."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar, cast

import trio

from .cell import Cell, CrashSignal, Envelope, State, WorkSignal
from .deadlock import find_circle
from .errors import ActorCrashed, ActorStopped, CallTimeout, DeadlockDetected
from .message import Asks, Later, Reply
from .span import CURRENT, Scope
from .trace import Kind

M_contra = TypeVar("M_contra", contravariant=True)
W = TypeVar("W")
R = TypeVar("R")

_INLINE_BEFORE_CHECKPOINT = 32
"""Inline calls between two real checkpoints, so that a busy caller starves nobody."""


@dataclass(frozen=True, slots=True)
class Down:
    """An incarnation of `ref` has ended: `reason` is its crash, or None if it just stopped.

    `final` says that no other incarnation will follow.
    """

    ref: "ActorRef[object]"
    reason: Exception | None
    final: bool


class Watch:
    """A standing order for `Down`s; `cancel` ends it."""

    __slots__ = ("_cell", "_listener")

    def __init__(self, cell: Cell, listener: Callable[[Exception | None, bool], None]) -> None:
        self._cell = cell
        self._listener = listener

    def cancel(self) -> None:
        """Hear no more; doing it twice is the same as doing it once."""
        if self._listener in self._cell.on_end:
            self._cell.on_end.remove(self._listener)


class ActorRef(Generic[M_contra]):
    """The address of an actor that understands `M_contra`; stays good across restarts."""

    __slots__ = ("_cell",)

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    def __repr__(self) -> str:
        return f"<ActorRef {self._cell.path} {self._cell.state.value}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorRef) and other.cell is self._cell

    def __hash__(self) -> int:
        return hash(self._cell)

    @property
    def cell(self) -> Cell:
        """The address itself, for the runtime."""
        return self._cell

    @property
    def path(self) -> str:
        """Where it is in the tree, such as `engine/herald/providers`."""
        return self._cell.path

    @property
    def stopped(self) -> bool:
        """Whether it is gone for good."""
        return self._cell.state is State.STOPPED

    @property
    def status(self) -> State:
        """Where it is in its life."""
        return self._cell.state

    def cast(self, message: Asks[M_contra, None]) -> None:
        """Send a message that asks for nothing; never blocks.

        A stopped recipient makes it a dead letter. Raises MailboxFull if the child's overflow
        policy says so.
        """
        cell = self._cell
        envelope = Envelope(message, cell, CURRENT.get(), inf)
        if cell.state is State.STOPPED:
            cell.lose(envelope, "stopped")
        else:
            cell.accept_cast(envelope)

    async def call(self, message: Asks[M_contra, R], *, timeout: float | None = None) -> R:
        """Send a message and wait for its answer, at most `timeout` seconds.

        Never waits beyond the deadline of the message being handled here. Raises ActorStopped
        (at once if it already has), ActorCrashed, CallTimeout or DeadlockDetected.
        """
        cell = self._cell
        sender = CURRENT.get()
        deadline = sender.deadline if sender is not None else inf
        if timeout is not None:
            deadline = min(deadline, trio.current_time() + timeout)
        if cell.inline is not None and cell.mailbox.idle:
            await self._checkpoint()
            if cell.inline is not None and cell.mailbox.idle and not cell.signals:
                return await self._call_inline(Envelope(message, cell, sender, deadline))
        return cast("R", await self._call_parked(Envelope(message, cell, sender, deadline), sender))

    def watch(self, watcher: "ActorRef[W]", notice: Callable[[Down], Asks[W, None]]) -> Watch:
        """Send `watcher` the message `notice` makes of each `Down`, in its urgent lane."""

        def listener(reason: Exception | None, final: bool) -> None:
            down = Down(ActorRef(self._cell), reason, final)
            cell = watcher.cell
            envelope = Envelope(notice(down), cell, None, inf)
            if cell.state is State.STOPPED:
                cell.lose(envelope, "stopped")
            else:
                cell.mailbox.push_urgent(envelope)

        if self.stopped:
            listener(None, True)
        else:
            self._cell.on_end.append(listener)
        return Watch(self._cell, listener)

    async def wait_stopped(self) -> Down:
        """Wait until it is gone for good, and say why."""
        if self.stopped:
            await trio.lowlevel.checkpoint()
            return Down(ActorRef(self._cell), None, True)
        ended = trio.Event()
        downs: list[Down] = []

        def listener(reason: Exception | None, final: bool) -> None:
            if final:
                downs.append(Down(ActorRef(self._cell), reason, final))
                ended.set()

        self._cell.on_end.append(listener)
        try:
            await ended.wait()
        finally:
            Watch(self._cell, listener).cancel()
        return downs[0]

    async def _checkpoint(self) -> None:
        runtime = self._cell.runtime
        runtime.inline_calls += 1
        if runtime.inline_calls % _INLINE_BEFORE_CHECKPOINT:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()

    async def _call_inline(self, envelope: Envelope) -> R:
        """Run the handler here: it is proven never to suspend, and the actor is idle."""
        if trio.current_time() >= envelope.deadline:
            raise self._missed(envelope, 0.0)
        cell = self._cell
        handler = cell.inline
        assert handler is not None
        trace = cell.runtime.trace
        if trace is not None:
            envelope.began_at = trace.clock()
        cell.current = envelope
        token = CURRENT.set(envelope)
        try:
            handler(envelope.message).__await__().send(None)
        except StopIteration as done:
            answer = done.value
        except Exception as error:
            cell.inline = None
            cell.signal(CrashSignal(envelope, error))
            raise ActorCrashed(cell.path, error) from error
        finally:
            CURRENT.reset(token)
            cell.current = None
        cell.handled += 1
        if type(answer) is Reply:
            envelope.answer(answer.value)
            return cast("R", answer.value)
        cell.signal(WorkSignal(envelope, cast("Later", answer)))
        return cast("R", await self._park(envelope))

    async def _call_parked(self, envelope: Envelope, sender: Scope | None) -> object:
        cell = self._cell
        if cell.state is State.STOPPED:
            await trio.lowlevel.checkpoint_if_cancelled()
            raise ActorStopped(cell.path)
        if sender is None:
            cell.accept_call(envelope)
            return await self._park(envelope)
        if sender.waits is None:
            sender.waits = []
        sender.waits.append(envelope)
        try:
            if cell.current is not None:
                self._refuse_circle(sender, envelope)
            cell.accept_call(envelope)
            return await self._park(envelope)
        finally:
            sender.waits.remove(envelope)

    async def _park(self, envelope: Envelope) -> object:
        envelope.caller = trio.lowlevel.current_task()
        if envelope.deadline == inf:
            await trio.lowlevel.wait_task_rescheduled(lambda _: self._withdraw(envelope))
        else:
            began = trio.current_time()
            with trio.CancelScope(deadline=envelope.deadline) as scope:
                await trio.lowlevel.wait_task_rescheduled(lambda _: self._withdraw(envelope))
            if scope.cancelled_caught:
                raise self._missed(envelope, trio.current_time() - began)
        if envelope.error is not None:
            raise envelope.error
        return envelope.value

    def _withdraw(self, envelope: Envelope) -> trio.lowlevel.Abort:
        envelope.caller = None
        if not self._cell.mailbox.remove(envelope) and envelope.work is not None:
            envelope.work.cancel()
        return trio.lowlevel.Abort.SUCCEEDED

    def _missed(self, envelope: Envelope, waited: float) -> CallTimeout:
        self._cell.observe(Kind.DEADLINE, envelope)
        return CallTimeout(self._cell.path, type(envelope.message).__name__, waited)

    def _refuse_circle(self, sender: Scope, envelope: Envelope) -> None:
        circle = find_circle(sender, envelope)
        if circle is not None:
            error = DeadlockDetected(circle)
            self._cell.observe(Kind.DEADLOCK, envelope, str(error))
            raise error
