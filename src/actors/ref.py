"""Refs: how one talks to an actor, from another actor or from any other task."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Generic, Never, TypeVar, cast

import trio

from .cell import Cell, Envelope
from .delivery import ask, send
from .message import Asks
from .span import CURRENT, Scope
from .state import State

M_contra = TypeVar("M_contra", contravariant=True)
W = TypeVar("W")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Down:
    """An incarnation of `ref` has ended: `reason` is its crash, or None if it just stopped.

    `final` says that no other incarnation will follow.
    """

    ref: "ActorRef[Never]"
    reason: Exception | None
    final: bool


class Watch:
    """A standing order for `Down`s; ends with the watched, with the watcher, or by `cancel`."""

    __slots__ = ("_notice", "_watched", "_watcher")

    def __init__(self, watched: Cell, watcher: Cell, notice: Callable[[Down], object]) -> None:
        self._watched = watched
        self._watcher = watcher
        self._notice = notice
        watched.listeners.append(self._on_down)
        watcher.listeners.append(self._on_watcher_down)

    def cancel(self) -> None:
        """Hear no more; doing it twice is the same as doing it once."""
        for cell, listener in (
            (self._watched, self._on_down),
            (self._watcher, self._on_watcher_down),
        ):
            if listener in cell.listeners:
                cell.listeners.remove(listener)

    def tell(self, reason: Exception | None, *, final: bool) -> None:
        """Send the notice."""
        notice = self._notice(Down(ActorRef(self._watched), reason, final))
        self._watcher.notify(Envelope(notice, self._watcher, None, inf))

    def _on_down(self, reason: Exception | None, final: bool) -> None:
        self.tell(reason, final=final)
        if final:
            self.cancel()

    def _on_watcher_down(self, _: Exception | None, final: bool) -> None:
        if final:
            self.cancel()


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
        """The address itself; for the runtime."""
        return self._cell

    @property
    def path(self) -> str:
        """Where it is in the tree, such as `engine/herald/providers`."""
        return self._cell.path

    @property
    def status(self) -> State:
        """Where it is in its life."""
        return self._cell.state

    @property
    def stopped(self) -> bool:
        """Whether it is gone for good."""
        return self._cell.state is State.STOPPED

    async def call(
        self,
        message: Asks[M_contra, R],
        *,
        timeout: float | None = None,  # noqa: ASYNC109  # becomes a deadline, as in OTP's call
    ) -> R:
        """Send a message and wait for its answer, at most `timeout` seconds.

        Never waits beyond the deadline of the message being handled here. Raises ActorStopped
        (at once if it already has), ActorCrashed, CallTimeout or DeadlockDetected.
        """
        sender = CURRENT.get()
        envelope = Envelope(message, self._cell, sender, _deadline(sender, timeout))
        return cast("R", await ask(envelope, sender))

    def cast(self, message: Asks[M_contra, None]) -> None:
        """Send a message that asks for nothing; never blocks.

        A stopped recipient makes it a dead letter. Raises MailboxFull if the child's overflow
        policy says so.
        """
        cell = self._cell
        cell.accept_cast(Envelope(message, cell, CURRENT.get(), inf))

    async def send(self, message: Asks[M_contra, None]) -> None:
        """Send a message that asks for nothing, waiting while the mailbox is full.

        Returns when the message is in the mailbox, not when it is handled. Raises
        ActorStopped, CallTimeout (the deadline of the message being handled here) or
        DeadlockDetected.
        """
        sender = CURRENT.get()
        await send(Envelope(message, self._cell, sender, _deadline(sender, None)), sender)

    def watch(self, watcher: "ActorRef[W]", notice: Callable[[Down], Asks[W, None]]) -> Watch:
        """Send `watcher` the message that `notice` makes of each `Down`, in its urgent lane.

        One for each incarnation that ends; at once if it is already gone. Ends with the watcher.
        """

        watch = Watch(self._cell, watcher.cell, notice)
        if self.stopped:
            watch.tell(self._cell.reason, final=True)
            watch.cancel()
        return watch

    async def wait_stopped(self) -> Down:
        """Wait until it is gone for good, and say why."""
        cell = self._cell
        ended = trio.Event()

        def listener(_: Exception | None, final: bool) -> None:
            if final:
                ended.set()

        cell.listeners.append(listener)
        try:
            if self.stopped:
                ended.set()
            await ended.wait()
        finally:
            cell.listeners.remove(listener)
        return Down(ActorRef(cell), cell.reason, True)


def _deadline(sender: Scope | None, seconds: float | None) -> float:
    inherited = sender.deadline if sender is not None else inf
    return inherited if seconds is None else min(inherited, trio.current_time() + seconds)
