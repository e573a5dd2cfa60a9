"""The dynamic supervisor: children of one kind, started and stopped by key at run time."""

from collections.abc import Callable
from typing import Generic, TypeVar

import trio

from .actor import Actor
from .cell import Cell, Runtime, State
from .child import ChildSpec, DynamicSpec, Restart
from .errors import ActorStopped, AlreadyStarted, RestartsExhausted
from .ref import ActorRef
from .registry import Registry
from .supervisor import ActorChild, RestartWindow, Task, restart_after, wants_restart
from .trace import Kind

M = TypeVar("M")


class Keeper(Generic[M]):
    """Keeps one child alive: its incarnations, its backoffs, its end."""

    def __init__(self, spec: ChildSpec[M], cell: Cell, window: RestartWindow) -> None:
        self.cell = cell
        self.ref: ActorRef[M] = ActorRef(cell)
        self.gone = trio.Event()
        self._child = ActorChild(spec, cell)
        self._window = window
        self._task = Task(self._child, lambda _: None)
        self._awake = trio.CancelScope()

    async def run(self, on_gone: Callable[["Keeper[M]"], None]) -> None:
        """Live until the child ends for good."""
        async with trio.open_nursery() as nursery:
            reason: Exception | None = None
            with self._awake:
                reason = await self._keep(nursery)
            if not self._task.ended.is_set():
                await self._task.stop()
                reason = self._task.reason
        if self.cell.state is State.NEW or self.cell.state is State.DOWN:
            self.cell.end(reason, final=True)
        on_gone(self)
        self.gone.set()

    async def wait_running(self) -> None:
        """Wait for the first start; raise StartFailed if it fails."""
        await self._task.wait_running()

    async def stop(self) -> None:
        """Stop the child and wait until it is gone."""
        self._awake.cancel(reason="the child was asked to stop")
        await self.gone.wait()

    async def _keep(self, nursery: trio.Nursery) -> Exception | None:
        first = True
        while True:
            nursery.start_soon(self._task.run, name=self.cell.path)
            await self._task.ended.wait()
            reason = self._task.reason
            failed_first = first and reason is not None and not self.cell.handled
            if failed_first or not wants_restart(self._child.restart, reason):
                return reason
            first = False
            try:
                delay = self._window.count(self.cell.path, self.cell.path, reason)
            except RestartsExhausted as error:
                self.cell.observe(Kind.GAVE_UP, self.cell.last_event, str(error))
                return error
            self.cell.end(reason, final=False)
            await restart_after(delay, [self._child])
            self._task = Task(self._child, lambda _: None)


class DynamicSupervisor(Generic[M]):
    """Runs the children of one `DynamicSpec`; to its own supervisor it is a child."""

    shutdown = float("inf")
    keep_mailbox = True
    restart = Restart.PERMANENT

    def __init__(self, spec: DynamicSpec[M], cell: Cell, runtime: Runtime, names: Registry) -> None:
        self.cell = cell
        self._spec = spec
        self._runtime = runtime
        self._names = names
        self._keepers: dict[str, Keeper[M]] = {}
        self._nursery: trio.Nursery | None = None
        self._stop = trio.Event()

    async def live(self, on_running: Callable[[], None]) -> Exception | None:
        """Run whatever is started, until asked to stop."""
        self.cell.move(State.STARTING)
        self.cell.incarnation += 1
        self._stop = trio.Event()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self.cell.move(State.RUNNING)
            on_running()
            await self._stop.wait()
            self.cell.move(State.STOPPING)
            self._nursery = None
            for keeper in reversed(tuple(self._keepers.values())):
                nursery.start_soon(keeper.stop)
        self.cell.move(State.DOWN)
        return None

    def ask_to_stop(self) -> None:
        """Stop all children, at the same time."""
        self._stop.set()

    def abandon(self) -> None:
        """Stop for good without ever having been running."""
        if self.cell.state is not State.STOPPED:
            self.cell.end(None, final=True)

    async def start(self, key: str, start: Callable[[], Actor[M]]) -> ActorRef[M]:
        """Start a child under `key` and wait until it serves."""
        if key in self._keepers:
            raise AlreadyStarted(f"{self.cell.path}/{key}")
        if self._nursery is None:
            raise ActorStopped(self.cell.path)
        keeper = self._keepers[key] = self._keeper(key, start)
        self._nursery.start_soon(keeper.run, self._forget, name=keeper.cell.path)
        try:
            await keeper.wait_running()
        except trio.Cancelled:
            keeper.cell.ask_to_stop()
            raise
        return keeper.ref

    async def stop(self, key: str) -> None:
        """Stop the child under `key` and wait until it is gone; no child is no error."""
        keeper = self._keepers.get(key)
        if keeper is None:
            await trio.lowlevel.checkpoint()
        else:
            await keeper.stop()

    def find(self, key: str) -> Keeper[M] | None:
        """Return what runs under `key`."""
        return self._keepers.get(key)

    def keys(self) -> tuple[str, ...]:
        """Return the keys in the order of their start."""
        return tuple(self._keepers)

    def _keeper(self, key: str, start: Callable[[], Actor[M]]) -> Keeper[M]:
        spec = self._spec
        child = ChildSpec(
            key, start, spec.restart, spec.shutdown, spec.mailbox, spec.overflow, spec.keep_mailbox
        )
        cell = Cell(
            f"{self.cell.path}/{key}",
            self._runtime,
            capacity=spec.mailbox,
            overflow=spec.overflow,
        )
        self._names.add(cell)
        return Keeper(child, cell, RestartWindow(spec.intensity, spec.backoff))

    def _forget(self, keeper: Keeper[M]) -> None:
        key = keeper.cell.path.rpartition("/")[2]
        del self._keepers[key]
        self._names.remove(keeper.cell)


class DynamicRef(Generic[M]):
    """What the rest of the tree sees of a dynamic supervisor."""

    def __init__(self, supervisor: DynamicSupervisor[M]) -> None:
        self._supervisor = supervisor

    @property
    def path(self) -> str:
        """Where it is in the tree."""
        return self._supervisor.cell.path

    async def start(self, key: str, start: Callable[[], Actor[M]]) -> ActorRef[M]:
        """Start a child under `key`; return its ref once it serves.

        Raises AlreadyStarted, StartFailed, or ActorStopped when the supervisor is not running.
        """
        return await self._supervisor.start(key, start)

    async def ensure(self, key: str, start: Callable[[], Actor[M]]) -> ActorRef[M]:
        """Return the child under `key`, starting it first if there is none."""
        keeper = self._supervisor.find(key)
        if keeper is None:
            return await self._supervisor.start(key, start)
        await keeper.wait_running()
        return keeper.ref

    async def stop(self, key: str) -> None:
        """Stop the child under `key` and wait until it is gone; no child is no error."""
        await self._supervisor.stop(key)

    def get(self, key: str) -> ActorRef[M] | None:
        """Return the child under `key`, or None."""
        keeper = self._supervisor.find(key)
        return keeper.ref if keeper else None

    def keys(self) -> tuple[str, ...]:
        """Return the keys of the running children, in the order of their start."""
        return self._supervisor.keys()
