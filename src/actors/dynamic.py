"""The dynamic supervisor: children of one kind, started and stopped by key at run time."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Generic, Protocol, TypeVar

import trio

from .actor import Actor
from .cell import Cell, Envelope
from .child import ChildSpec, DynamicSpec, Restart, check_name
from .errors import (
    ActorStopped,
    AlreadyStarted,
    CallTimeout,
    DeadlockDetected,
    RestartsExhausted,
    StartFailed,
)
from .incarnation import Started
from .ref import ActorRef
from .registry import Registry
from .restart import RestartWindow, back_off, wants_restart
from .span import CURRENT, waits_of
from .state import State
from .task import ActorChild, ChildTask

M = TypeVar("M")


@dataclass(slots=True)
class Kept:
    """One child by key: the task it runs in now, its restarts, and whether it is leaving."""

    key: str
    child: ActorChild
    window: RestartWindow
    task: ChildTask = field(init=False)
    healing: trio.CancelScope | None = None
    gone: trio.Event | None = None  # None while it may stay; set when it has left


class DynamicSupervisor(Generic[M]):
    """Runs the children of one `DynamicSpec`; to its own supervisor it is a child."""

    shutdown = inf  # each child has its own limit
    restart = Restart.PERMANENT

    def __init__(self, spec: DynamicSpec[M], cell: Cell, registry: Registry) -> None:
        self.cell = cell
        self._spec = spec
        self._registry = registry
        self._kept: dict[str, Kept] = {}
        self._nursery: trio.Nursery | None = None
        self._asked_to_stop = trio.Event()

    async def live(self, on_running: Callable[[], None]) -> Exception | None:
        """Run whatever is started, until asked to stop."""
        self.cell.begin()
        async with trio.open_nursery() as self._nursery:
            self.cell.move(State.RUNNING)
            on_running()
            await self._asked_to_stop.wait()
            self.cell.move(State.STOPPING)
            for kept in reversed(tuple(self._kept.values())):
                self._dismiss(kept)
        self._nursery = None
        self._asked_to_stop = trio.Event()
        return None

    def ask_to_stop(self, *, final: bool) -> None:
        """Stop all children, at the same time; they are gone for good."""
        self._asked_to_stop.set()

    def settle(self, *, final: bool) -> None:
        """Hear what follows."""
        self.cell.settle(final=final)

    async def start(self, key: str, start: Callable[[], Actor[M]] | ChildSpec[M]) -> ActorRef[M]:
        """Start a child under `key` and wait until it serves."""
        if self.cell.state is not State.RUNNING:
            raise ActorStopped(self.cell.path, f"is {self.cell.state.value}")
        if key in self._kept:
            raise AlreadyStarted(f"{self.cell.path}/{key}")
        kept = self._keep(key, start)
        sender = CURRENT.get()
        birth = Envelope(Started(), kept.child.cell, sender, sender.deadline if sender else inf)
        kept.child.cell.birth = birth
        self._launch(kept)
        waits = waits_of(sender)
        waits.append(birth)
        try:
            await self._first_start(kept, birth.deadline)
        finally:
            waits.remove(birth)
        return ActorRef(kept.child.cell)

    async def stop(self, key: str) -> None:
        """Stop the child under `key` and wait until it is gone."""
        kept = self._kept.get(key)
        if kept is None:
            await trio.lowlevel.checkpoint()
            return
        sender = CURRENT.get()
        if isinstance(sender, Envelope) and sender is kept.child.cell.current:
            raise DeadlockDetected((kept.child.cell.path, self.cell.path, kept.child.cell.path))
        await self._dismiss(kept).wait()

    async def ensure(self, key: str, start: Callable[[], Actor[M]] | ChildSpec[M]) -> ActorRef[M]:
        """Return the child under `key` once it serves, starting it if there is none."""
        while True:
            kept = self._kept.get(key)
            if kept is None:
                return await self.start(key, start)
            if kept.gone is None:
                await kept.task.wait_running()
                return ActorRef(kept.child.cell)
            await kept.gone.wait()

    def find(self, key: str) -> ActorRef[M] | None:
        """Return the child under `key`."""
        kept = self._kept.get(key)
        return ActorRef(kept.child.cell) if kept else None

    def keys(self) -> tuple[str, ...]:
        """Return the keys in the order of their start."""
        return tuple(self._kept)

    async def _first_start(self, kept: Kept, deadline: float) -> None:
        """Wait for the start; a child that does not come up, or is not awaited, leaves."""
        try:
            if deadline == inf:
                await kept.task.wait_running()
            else:
                await _by(deadline, kept.task)
        except StartFailed:
            self._remove(kept)
            raise
        except BaseException:
            self._dismiss(kept)
            raise

    def _keep(self, key: str, start: Callable[[], Actor[M]] | ChildSpec[M]) -> Kept:
        check_name(key)
        spec = self._spec.child(key, start) if callable(start) else start
        cell = Cell(
            f"{self.cell.path}/{key}",
            self.cell.runtime,
            self.cell,
            capacity=spec.mailbox,
            overflow=spec.overflow,
            urgent=frozenset(spec.urgent),
        )
        self._registry.add(cell)
        child = ActorChild(spec, cell)
        window = RestartWindow(self._spec.intensity, self._spec.backoff)
        kept = self._kept[key] = Kept(key, child, window)
        return kept

    def _launch(self, kept: Kept) -> None:
        assert self._nursery is not None
        kept.task = ChildTask(kept.child, lambda _: self._on_end(kept))
        kept.task.spawn(self._nursery)

    def _on_end(self, kept: Kept) -> None:
        if kept.gone is not None:
            return  # whoever dismissed it sees to the rest
        if wants_restart(kept.child.restart, kept.child.cell.reason):
            self._spawn(self._heal, kept)
        else:
            self._remove(kept)

    async def _heal(self, kept: Kept) -> None:
        """Restart a child until it serves, is dismissed, or its key has used up its restarts."""
        with trio.CancelScope() as kept.healing:
            while kept.gone is None:
                try:
                    delay = kept.window.count(self.cell, kept.child.cell)
                except RestartsExhausted as error:
                    kept.child.cell.reason = error
                    self._remove(kept)
                    return
                kept.child.settle(final=False)
                await back_off(delay, [kept.child.cell])
                if await self._restarted(kept):
                    return

    async def _restarted(self, kept: Kept) -> bool:
        self._launch(kept)
        try:
            await kept.task.wait_running()
        except StartFailed:
            return False
        return True

    def _dismiss(self, kept: Kept) -> trio.Event:
        """Have a child stopped; returns the event of its being gone."""
        if kept.gone is None:
            kept.gone = trio.Event()
            if kept.healing is not None:
                kept.healing.cancel(reason="the child was asked to stop")
            self._spawn(self._see_off, kept)
        return kept.gone

    async def _see_off(self, kept: Kept) -> None:
        await kept.task.stop(final=True)
        self._remove(kept)

    def _remove(self, kept: Kept) -> None:
        if self._kept.get(kept.key) is kept:
            del self._kept[kept.key]
            self._registry.remove(kept.child.cell)
            kept.child.settle(final=True)
        if kept.gone is not None:
            kept.gone.set()

    def _spawn(self, work: Callable[[Kept], Awaitable[None]], kept: Kept) -> None:
        assert self._nursery is not None
        self.cell.runtime.spawn(self._nursery, partial(work, kept), kept.child.cell.path)


async def _by(deadline: float, task: ChildTask) -> None:
    began = trio.current_time()
    with trio.CancelScope(deadline=deadline):
        await task.wait_running()
        return
    raise CallTimeout(task.child.cell.path, Started.__name__, trio.current_time() - began)


class KeepsChildren(Protocol[M]):
    """What a `DynamicRef` needs of whoever keeps the children."""

    cell: Cell

    async def start(self, key: str, start: Callable[[], Actor[M]] | ChildSpec[M]) -> ActorRef[M]:
        """Start a child under `key` and wait until it serves."""
        ...

    async def ensure(self, key: str, start: Callable[[], Actor[M]] | ChildSpec[M]) -> ActorRef[M]:
        """Return the child under `key` once it serves, starting it if there is none."""
        ...

    async def stop(self, key: str) -> None:
        """Stop the child under `key` and wait until it is gone."""
        ...

    def find(self, key: str) -> ActorRef[M] | None:
        """Return the child under `key`."""
        ...

    def keys(self) -> tuple[str, ...]:
        """Return the keys in the order of their start."""
        ...


class DynamicRef(Generic[M]):
    """What the rest of the tree sees of a dynamic supervisor."""

    __slots__ = ("_supervisor",)

    def __init__(self, supervisor: KeepsChildren[M]) -> None:
        self._supervisor = supervisor

    @property
    def path(self) -> str:
        """Where it is in the tree."""
        return self._supervisor.cell.path

    async def start(self, key: str, start: Callable[[], Actor[M]] | ChildSpec[M]) -> ActorRef[M]:
        """Start a child under `key`; return its ref once it serves.

        A `ChildSpec` overrides the `DynamicSpec`, except for its name. Raises AlreadyStarted,
        StartFailed, or ActorStopped when the supervisor is not running.
        """
        return await self._supervisor.start(key, start)

    async def ensure(self, key: str, start: Callable[[], Actor[M]] | ChildSpec[M]) -> ActorRef[M]:
        """Return the child under `key`, starting it first if there is none."""
        return await self._supervisor.ensure(key, start)

    async def stop(self, key: str) -> None:
        """Stop the child under `key` and wait until it is gone; no child is no error.

        An actor stops itself with `Actor.stop`; to ask here for that raises DeadlockDetected.
        """
        await self._supervisor.stop(key)

    def get(self, key: str) -> ActorRef[M] | None:
        """Return the child under `key`, or None."""
        return self._supervisor.find(key)

    def keys(self) -> tuple[str, ...]:
        """Return the keys of the children, in the order of their start."""
        return self._supervisor.keys()
