"""Supervisors: start children, watch over them, restart them by the strategy, stop them."""

from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, Protocol

import trio

from .actor import Incarnation
from .cell import Cell, State
from .child import Backoff, ChildSpec, Intensity, Restart, Strategy, SupervisorSpec
from .errors import RestartsExhausted, StartFailed
from .trace import Kind

JITTER: Final = Random()
"""Where the jitter of backoffs comes from; tests seed it."""


class Child(Protocol):
    """Something a supervisor can start, wait for and stop."""

    cell: Cell
    restart: Restart
    shutdown: float
    keep_mailbox: bool

    async def live(self, on_running: Callable[[], None]) -> Exception | None:
        """Run one incarnation; return its crash, or None for a normal end."""
        ...

    def ask_to_stop(self) -> None:
        """Ask for a normal end, soon."""
        ...

    def abandon(self) -> None:
        """Stop for good without ever having been running, with everything below."""
        ...


class ActorChild:
    """An actor as its supervisor sees it."""

    def __init__(self, spec: ChildSpec[Any], cell: Cell) -> None:
        self.cell = cell
        self.restart = spec.restart
        self.shutdown = spec.shutdown
        self.keep_mailbox = spec.keep_mailbox
        self._start = spec.start

    async def live(self, on_running: Callable[[], None]) -> Exception | None:
        """Make the actor and let it live."""
        cell = self.cell
        cell.move(State.STARTING)
        cell.incarnation += 1
        cell.observe(Kind.SPAWN, cell.last_event)
        try:
            incarnation = Incarnation(self._start(), cell, self.shutdown)
        except Exception as error:
            cell.observe(Kind.CRASH, detail=repr(error))
            cell.move(State.STOPPING)
            cell.move(State.DOWN)
            return error
        return await incarnation.run(on_running)

    def ask_to_stop(self) -> None:
        """Let it finish the message in hand."""
        self.cell.ask_to_stop()

    def abandon(self) -> None:
        """Refuse whatever was sent to it."""
        if self.cell.state is not State.STOPPED:
            self.cell.end(None, final=True)


class RestartWindow:
    """Counts the restarts of the last `intensity.seconds`."""

    def __init__(self, intensity: Intensity, backoff: Backoff) -> None:
        self._intensity = intensity
        self._backoff = backoff
        self._times: deque[float] = deque()

    def count(self, path: str, child: str, reason: Exception | None) -> float:
        """Count one restart and return the seconds to wait; raise RestartsExhausted."""
        now = trio.current_time()
        while self._times and self._times[0] <= now - self._intensity.seconds:
            self._times.popleft()
        if len(self._times) >= self._intensity.restarts:
            limit = self._intensity
            raise RestartsExhausted(path, child, limit.restarts, limit.seconds) from reason
        self._times.append(now)
        return self._backoff.delay(len(self._times), JITTER.random())


class Task:
    """The task in which one incarnation of a child runs."""

    def __init__(self, child: Child, on_end: Callable[["Task"], None]) -> None:
        self.child = child
        self.reason: Exception | None = None
        self.ready = trio.Event()
        self.ended = trio.Event()
        self._scope = trio.CancelScope()
        self._on_end = on_end

    async def run(self) -> None:
        """Live, then report."""
        with self._scope:
            self.reason = await self.child.live(self.ready.set)
        self.ended.set()
        started = self.ready.is_set()
        self.ready.set()
        if started:
            self._on_end(self)

    async def wait_running(self) -> None:
        """Wait until it serves; raise StartFailed if it ended before."""
        await self.ready.wait()
        if self.ended.is_set() and self.reason is not None:
            raise StartFailed(self.child.cell.path, self.reason) from self.reason

    async def stop(self) -> None:
        """Ask it to stop; cancel it when its shutdown time has passed."""
        self.child.ask_to_stop()
        with trio.move_on_after(self.child.shutdown):
            await self.ended.wait()
        if not self.ended.is_set():
            self._scope.cancel(reason="the shutdown time has passed")
            await self.ended.wait()


class Supervisor:
    """Runs the children of one `SupervisorSpec`; to its own supervisor it is a child."""

    shutdown = float("inf")  # each child has its own limit
    keep_mailbox = True

    def __init__(self, spec: SupervisorSpec, cell: Cell, children: Sequence[Child]) -> None:
        self.cell = cell
        self.restart = spec.restart
        self._spec = spec
        self._children = list(children)
        self._tasks: dict[Child, Task] = {}
        self._ended: deque[Task] = deque()
        self._awake = trio.CancelScope()
        self._news = trio.Event()
        self._window = RestartWindow(spec.intensity, spec.backoff)

    async def live(self, on_running: Callable[[], None]) -> Exception | None:
        """Start the children and watch over them until asked to stop or forced to give up."""
        self.cell.move(State.STARTING)
        self.cell.incarnation += 1
        self._awake = trio.CancelScope()
        self._window = RestartWindow(self._spec.intensity, self._spec.backoff)
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            try:
                with self._awake:
                    await self._start(self._children, nursery)
                    self.cell.move(State.RUNNING)
                    on_running()
                    await self._watch_over(nursery)
            except (StartFailed, RestartsExhausted) as error:
                failure = error
            self.cell.move(State.STOPPING)
            await self._stop(self._children, final=True)
        self.cell.move(State.DOWN)
        return failure

    def ask_to_stop(self) -> None:
        """Stop watching over the children and stop them."""
        self._awake.cancel(reason="the supervisor was asked to stop")

    def abandon(self) -> None:
        """Give up the children that never ran."""
        for child in reversed(self._children):
            child.abandon()
        if self.cell.state is not State.STOPPED:
            self.cell.end(None, final=True)

    async def _start(self, children: Sequence[Child], nursery: trio.Nursery) -> None:
        for child in children:
            task = self._tasks[child] = Task(child, self._report)
            nursery.start_soon(task.run, name=child.cell.path)
            await task.wait_running()

    async def _stop(self, children: Sequence[Child], *, final: bool) -> None:
        for child in reversed(children):
            task = self._tasks.pop(child, None)
            if task is not None:
                await task.stop()
                child.cell.end(task.reason, final=final)
            elif final:
                child.abandon()

    def _report(self, task: Task) -> None:
        self._ended.append(task)
        self._news.set()

    async def _watch_over(self, nursery: trio.Nursery) -> None:
        while True:
            while self._ended:
                task = self._ended.popleft()
                if self._tasks.get(task.child) is task:
                    await self._heal(task.child, task.reason, nursery)
            self._news = trio.Event()
            await self._news.wait()

    async def _heal(self, child: Child, reason: Exception | None, nursery: trio.Nursery) -> None:
        del self._tasks[child]
        if not wants_restart(child.restart, reason):
            child.cell.end(reason, final=True)
            return
        child.cell.end(reason, final=False)
        while True:
            group = self._group(child)
            try:
                delay = self._window.count(self.cell.path, child.cell.path, reason)
            except RestartsExhausted as error:
                self.cell.observe(Kind.GAVE_UP, child.cell.last_event, str(error))
                raise
            await self._stop(group, final=False)
            await restart_after(delay, group)
            try:
                await self._start(group, nursery)
                return
            except StartFailed as error:
                reason = error

    def _group(self, child: Child) -> list[Child]:
        at = self._children.index(child)
        match self._spec.strategy:
            case Strategy.ONE_FOR_ONE:
                group = [child]
            case Strategy.ONE_FOR_ALL:
                group = self._children
            case Strategy.REST_FOR_ONE:
                group = self._children[at:]
        return [one for one in group if one is child or one.restart is not Restart.TEMPORARY]


def wants_restart(restart: Restart, reason: Exception | None) -> bool:
    """Whether a child that ended for `reason` is started again."""
    match restart:
        case Restart.PERMANENT:
            return True
        case Restart.TRANSIENT:
            return reason is not None
        case Restart.TEMPORARY:
            return False


async def restart_after(delay: float, children: Sequence[Child]) -> None:
    """Trace the decision, forget the mailboxes that must not be kept, wait out the backoff."""
    for child in children:
        child.cell.restarts += 1
        child.cell.observe(Kind.RESTART, child.cell.last_event, f"in {delay:.3f} s")
        if not child.keep_mailbox:
            child.cell.forget("restarted")
    await trio.sleep(delay)
