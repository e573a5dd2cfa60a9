"""The task in which a child runs, and what a supervisor needs to know of the child."""

from collections.abc import Callable
from typing import Any, Protocol

import trio

from .cell import Cell
from .child import ChildSpec, Restart
from .errors import Killed, StartFailed
from .incarnation import Incarnation
from .trace import Kind


class Child(Protocol):
    """Something a supervisor can start, stop and start again. `shutdown` is in seconds."""

    cell: Cell
    restart: Restart
    shutdown: float

    async def live(self, on_running: Callable[[], None]) -> Exception | None:
        """Run one incarnation; return its crash, or None for a normal end."""
        ...

    def ask_to_stop(self, *, final: bool) -> None:
        """Ask for a normal end, soon; `final` if no other incarnation will follow."""
        ...

    def settle(self, *, final: bool) -> None:
        """Hear what follows: another incarnation, or, with `final`, nothing."""
        ...


class ActorChild:
    """An actor as its supervisor sees it."""

    __slots__ = ("_spec", "cell", "restart", "shutdown")

    def __init__(self, spec: ChildSpec[Any], cell: Cell) -> None:
        self.cell = cell
        self.restart = spec.restart
        self.shutdown = spec.shutdown
        self._spec = spec

    async def live(self, on_running: Callable[[], None]) -> Exception | None:
        """Make the actor and let it live."""
        self.cell.begin()
        try:
            actor = self._spec.start()
        except Exception as error:
            self.cell.decide(Kind.CRASH, None, repr(error))
            self.cell.stillborn()
            return error
        return await Incarnation(actor, self.cell, self.shutdown).run(on_running)

    def ask_to_stop(self, *, final: bool) -> None:
        """Let it finish the message in hand."""
        self.cell.ask_to_stop()

    def settle(self, *, final: bool) -> None:
        """Tell whoever watches; give up what is unread if it must not be kept."""
        self.cell.settle(final=final)
        if not final and not self._spec.keep_mailbox:
            self.cell.forget("been restarted without its mailbox")


class ChildTask:
    """Runs one incarnation of a child. `on_end` hears of its end if it had started."""

    __slots__ = ("_on_end", "_ready", "_scope", "_start_failure", "child", "ended")

    def __init__(self, child: Child, on_end: Callable[["ChildTask"], None]) -> None:
        self.child = child
        self.ended = trio.Event()
        self._ready: trio.Event | None = trio.Event()  # None once it has started or failed to
        self._start_failure: Exception | None = None
        self._scope = trio.CancelScope()
        self._on_end = on_end

    def spawn(self, nursery: trio.Nursery) -> None:
        """Begin, inheriting no context from whoever causes it."""
        cell = self.child.cell
        cell.runtime.spawn(nursery, self.run, cell.path)

    async def run(self) -> None:
        """Live, then report."""
        cell = self.child.cell
        reason: Exception | None = None
        try:
            with self._scope:
                reason = await self.child.live(self._now_ready)
        except trio.Cancelled:
            cell.conclude(None)
            raise
        except BaseException as error:
            cell.runtime.fail(error)
        if self._scope.cancelled_caught:
            reason = Killed(cell.path, self.child.shutdown)
        cell.conclude(reason)
        if self._ready is not None:
            self._start_failure = reason
            self._now_ready()
        self.ended.set()
        if self._start_failure is None:
            self._on_end(self)

    async def wait_running(self) -> None:
        """Wait until it serves; raise StartFailed if it crashed before."""
        if self._ready is not None:
            await self._ready.wait()
        cause = self._start_failure
        if isinstance(cause, StartFailed):  # somewhere below: already says it best
            raise cause
        if cause is not None:
            raise StartFailed(self.child.cell.path, cause) from cause

    def _now_ready(self) -> None:
        if self._ready is not None:
            self._ready.set()
            self._ready = None

    async def stop(self, *, final: bool) -> None:
        """Ask it to stop; cancel it when its shutdown time has passed."""
        if self.ended.is_set():
            return
        self.child.ask_to_stop(final=final)
        with trio.move_on_after(self.child.shutdown):
            await self.ended.wait()
        if not self.ended.is_set():
            self._scope.cancel(reason="the shutdown time has passed")
            await self.ended.wait()
