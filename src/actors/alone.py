"""One actor of a tree on its own: all others are stand-ins that whoever runs it answers for.

For a replay: the actor is made as its spec says and at its own path, so it finds everybody where
it expects them, but nobody else is started, and what it sends goes nowhere but to the `Audience`.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import Any, Protocol

import trio

from .actor import Actor, Beside
from .cell import Cell, Envelope
from .child import AnySpec, ChildSpec, DynamicSpec, SupervisorSpec
from .delivery import ask
from .errors import ActorStopped, AlreadyStarted
from .incarnation import Started
from .message import Later
from .ref import ActorRef
from .span import CURRENT
from .state import State
from .task import ActorChild, ChildTask
from .trace import Trace
from .tree import Tree


class Audience(Protocol):
    """Who hears what the actor does."""

    def asked(self, envelope: Envelope, by: Envelope | None) -> None:
        """It sends a message while it handles `by`. What is called waits until it is answered."""
        ...

    def began(self, work: Envelope) -> None:
        """It begins work of its own beside its inbox."""
        ...


class _StandIn(Cell):
    """Takes messages for an actor that is not there."""

    __slots__ = ("_audience",)

    def __init__(self, path: str, boss: Cell | None, tree: Tree, audience: Audience) -> None:
        super().__init__(path, tree.runtime, boss)
        self.state = State.RUNNING
        self._audience = audience

    def accept_call(self, envelope: Envelope) -> None:
        envelope.sends = False
        self._audience.asked(envelope, _asking())

    def accept_cast(self, envelope: Envelope) -> None:
        self._audience.asked(envelope, _asking())


class _Subject(Cell):
    """The actor's own address: what it tells itself is heard, not delivered."""

    __slots__ = ("_audience",)

    def __init__(
        self, spec: ChildSpec[Any], path: str, boss: Cell, tree: Tree, audience: Audience
    ) -> None:
        super().__init__(
            path, tree.runtime, boss, capacity=spec.mailbox, urgent=frozenset(spec.urgent)
        )
        self._audience = audience

    def accept_call(self, envelope: Envelope) -> None:
        if not self._from_itself(envelope):
            super().accept_call(envelope)

    def accept_cast(self, envelope: Envelope) -> None:
        if not self._from_itself(envelope):
            super().accept_cast(envelope)

    def begin_work(self, envelope: Envelope, later: Later) -> None:
        if isinstance(envelope.message, Beside):
            self._audience.began(envelope)
        super().begin_work(envelope, later)

    def _from_itself(self, envelope: Envelope) -> bool:
        by = _asking()
        if by is None or by.cell is not self:
            return False
        self._audience.asked(envelope, by)
        return True


class Children:
    """Stands in for a dynamic supervisor: its children are stand-ins, too."""

    def __init__(self, cell: Cell, tree: Tree, audience: Audience) -> None:
        self.cell = cell
        self._tree = tree
        self._audience = audience
        self._cells: dict[str, Cell] = {}

    def admit(self, key: str) -> Cell:
        """Have a child under `key`."""
        if key not in self._cells:
            path = f"{self.cell.path}/{key}"
            self._cells[key] = _StandIn(path, self.cell, self._tree, self._audience)
            self._tree.registry.add(self._cells[key])
        return self._cells[key]

    def dismiss(self, key: str) -> None:
        """Have none any more; whoever calls it hears so."""
        cell = self._cells.pop(key, None)
        if cell is not None:
            self._tree.registry.remove(cell)
            cell.state = State.STOPPED

    async def start(self, key: str, start: object) -> ActorRef[Any]:
        """As a dynamic supervisor's: the start is a message like any other."""
        if key in self._cells:
            raise AlreadyStarted(f"{self.cell.path}/{key}")
        cell, sender = self.admit(key), CURRENT.get()
        try:
            birth = Envelope(Started(), cell, sender, sender.deadline if sender else inf)
            await ask(birth, sender)
        except BaseException:
            self.dismiss(key)
            raise
        return ActorRef(cell)

    async def ensure(self, key: str, start: object) -> ActorRef[Any]:
        """Return the child under `key`, starting it if there is none."""
        return self.find(key) or await self.start(key, start)

    async def stop(self, key: str) -> None:
        """Stop the child under `key`."""
        await trio.lowlevel.checkpoint()
        self.dismiss(key)

    def find(self, key: str) -> ActorRef[Any] | None:
        """Return the child under `key`."""
        cell = self._cells.get(key)
        return ActorRef(cell) if cell is not None else None

    def keys(self) -> tuple[str, ...]:
        """Return the keys in the order of their start."""
        return tuple(self._cells)


class LoneTree(Tree):
    """The addresses of a whole tree, of which one actor lives."""

    def __init__(self, root: SupervisorSpec, path: str, trace: Trace, audience: Audience) -> None:
        super().__init__(trace)
        self._audience = audience
        self._path = path
        self._children: dict[str, Children] = {}
        self.subject: ChildSpec[Any] | None = None
        self._add(root, None)

    def find(self, path: str) -> ActorRef[Any]:
        """Return the ref of whoever is, or was, at `path`."""
        above, _, key = path.rpartition("/")
        if above in self._children:
            return ActorRef(self._children[above].admit(key))
        return ActorRef(self.registry.find(path))

    def children(self, path: str) -> Children | None:
        """Return the stand-in of the dynamic supervisor at `path`."""
        return self._children.get(path)

    def _add(self, spec: AnySpec, boss: Cell | None) -> None:
        path = f"{boss.path}/{spec.name}" if boss is not None else spec.name
        cell: Cell
        if path == self._path and isinstance(spec, ChildSpec) and boss is not None:
            self.subject = spec
            cell = _Subject(spec, path, boss, self, self._audience)
        else:
            cell = _StandIn(path, boss, self, self._audience)
        self._cells[spec] = cell
        self.registry.add(cell)
        if isinstance(spec, DynamicSpec):
            self._children[path] = Children(cell, self, self._audience)
            self._dynamic[spec] = self._children[path]
        if isinstance(spec, SupervisorSpec):
            for child in spec.children:
                self._add(child, cell)


@asynccontextmanager
async def running_alone(
    tree: LoneTree, look: Callable[[Actor[Any]], None]
) -> AsyncGenerator[tuple[ActorRef[Any], ChildTask]]:
    """Start the tree's one actor without waiting for its start; at the end it is cancelled.

    `look` sees it first, and may raise. An actor that crashes has ended: nothing restarts it.
    """
    spec = tree.subject
    assert spec is not None

    def start() -> Actor[Any]:
        actor = spec.start()
        look(actor)
        return actor

    cell = tree.ref(spec).cell
    task = ChildTask(ActorChild(ChildSpec(spec.name, start), cell), lambda _: None)
    async with trio.open_nursery() as nursery:
        task.spawn(nursery)
        yield ActorRef(cell), task
        nursery.cancel_scope.cancel(reason="the replay is over")


def refuse(envelope: Envelope) -> None:
    """Tell whoever waits that nobody is there."""
    envelope.fail(ActorStopped(envelope.cell.path), "stopped")


def _asking() -> Envelope | None:
    """The message whose handling sends now."""
    scope = CURRENT.get()
    held = scope.holder or scope if scope is not None else None
    return held if isinstance(held, Envelope) else None
