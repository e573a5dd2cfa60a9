"""Supervisors: start children, watch over them, restart them by the strategy, stop them."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from math import inf

import trio

from .cell import Cell
from .child import Strategy, SupervisorSpec
from .errors import RestartsExhausted, StartFailed
from .restart import RestartWindow, back_off, wants_restart
from .state import State
from .task import Child, ChildTask


class Supervisor:
    """Runs the children of one `SupervisorSpec`; to its own supervisor it is a child."""

    shutdown = inf  # each child has its own limit

    def __init__(self, spec: SupervisorSpec, cell: Cell, children: Sequence[Child]) -> None:
        self.cell = cell
        self.restart = spec.restart
        self._spec = spec
        self._children = tuple(children)
        self._tasks: dict[Child, ChildTask] = {}
        self._nursery: trio.Nursery | None = None
        self._healers: trio.Nursery | None = None
        self._final: bool | None = None  # None: whether the children are gone for good is open
        self._prepare()

    async def live(self, on_running: Callable[[], None]) -> Exception | None:
        """Start the children and watch over them until asked to stop or forced to give up."""
        self.cell.begin()
        failure: Exception | None = None
        async with trio.open_nursery() as self._nursery:
            try:
                with self._awake:
                    await self._watch_over(on_running)
            except ExceptionGroup as group:
                failure = _verdict(group)
            finally:
                self.cell.move(State.STOPPING)
                await self._stop(self._children, final=self._final)
        self._prepare()
        return failure

    def ask_to_stop(self, *, final: bool) -> None:
        """Stop watching over the children, and stop them."""
        self._final = True if final else None
        self._awake.cancel(reason="the supervisor was asked to stop")

    def settle(self, *, final: bool) -> None:
        """Pass the decision on to the children, which share this supervisor's fate."""
        for child in reversed(self._children):
            child.settle(final=final)
        self.cell.settle(final=final)

    def _prepare(self) -> None:
        """Be ready for the next incarnation, so that it can be asked to stop before it runs."""
        self._awake = trio.CancelScope()
        self._final = None
        self._window = RestartWindow(self._spec.intensity, self._spec.backoff)
        self._group_turn = trio.Lock()

    async def _watch_over(self, on_running: Callable[[], None]) -> None:
        async with trio.open_nursery() as self._healers:
            try:
                async with self._group_turn:
                    await self._start(self._children)
                self.cell.move(State.RUNNING)
                on_running()
                await trio.sleep_forever()
            finally:
                self._healers = None  # from here on nobody is healed

    async def _start(self, children: Sequence[Child]) -> None:
        """Start from left to right, each when the one before it serves; raise StartFailed."""
        waiting = [child for child in children if child.cell.state is not State.STOPPED]
        try:
            while waiting:
                self.cell.to_start = tuple(child.cell for child in waiting)
                await self._start_one(waiting.pop(0))
        finally:
            self.cell.to_start = ()

    async def _start_one(self, child: Child) -> None:
        assert self._nursery is not None
        task = self._tasks[child] = ChildTask(child, self._on_end)
        task.spawn(self._nursery)
        await task.wait_running()

    async def _stop(self, children: Sequence[Child], *, final: bool | None) -> None:
        """Stop from right to left; `final` None leaves open what follows."""
        for child in reversed(children):
            task = self._tasks.get(child)
            if task is not None:
                await task.stop(final=final is True)
                del self._tasks[child]  # only now: cancelled before, it is still to be stopped
            if final is not None:
                child.settle(final=final)

    def _on_end(self, task: ChildTask) -> None:
        if self._healers is not None and self._tasks.get(task.child) is task:
            self.cell.runtime.spawn(self._healers, partial(self._heal, task), self.cell.path)

    async def _heal(self, task: ChildTask) -> None:
        """Decide what follows the end of a child, and do it."""
        if self._spec.strategy is Strategy.ONE_FOR_ONE:
            await self._decide(task, self._start_alone)
            return
        async with self._group_turn:
            if self._tasks.get(task.child) is task:  # else a restart of its group came first
                await self._decide(task, self._start)

    async def _decide(
        self, task: ChildTask, start: Callable[[Sequence[Child]], Awaitable[None]]
    ) -> None:
        child = task.child
        if not wants_restart(child.restart, child.cell.reason):
            del self._tasks[child]
            child.settle(final=True)
            return
        group = self._group(child)
        while True:
            delay = self._window.count(self.cell, child.cell)
            await self._stop(group, final=False)
            await back_off(delay, [one.cell for one in group])
            try:
                await start(group)
                return
            except StartFailed:
                child = next(one for one in group if one.cell.state is State.ENDED)

    async def _start_alone(self, group: Sequence[Child]) -> None:
        """Start one child while its siblings may be starting, too."""
        (child,) = group
        await self._start_one(child)

    def _group(self, child: Child) -> list[Child]:
        """Return who is restarted with `child`, which itself is always among them."""
        at = self._children.index(child)
        match self._spec.strategy:
            case Strategy.ONE_FOR_ONE:
                return [child]
            case Strategy.ONE_FOR_ALL:
                group = self._children
            case Strategy.REST_FOR_ONE:
                group = self._children[at:]
        return [one for one in group if one.cell.state is not State.STOPPED]


def _verdict(group: ExceptionGroup[Exception]) -> Exception:
    """Return why the supervisor gives up; anything else is a bug and goes on its way."""
    expected, unexpected = group.split((StartFailed, RestartsExhausted))
    if unexpected is not None or expected is None:
        raise group
    failure: Exception = expected
    while isinstance(failure, ExceptionGroup):
        failure = failure.exceptions[0]
    return failure
