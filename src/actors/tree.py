"""Running a tree: builds what the specs describe, runs it beside the caller, stops it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar, cast, overload

import trio

from .actor import Actor
from .cell import Cell, Runtime
from .child import AnySpec, ChildSpec, DynamicSpec, SupervisorSpec
from .dynamic import DynamicRef, DynamicSupervisor
from .ref import ActorRef
from .registry import Registry, Snapshot
from .supervisor import ActorChild, Child, Supervisor, Task
from .trace import Trace

M = TypeVar("M")

TREE: Final[ContextVar["Tree"]] = ContextVar("september.actors.tree")


class Tree:
    """A running tree: how to reach the actors in it, and what they are doing."""

    def __init__(self, trace: Trace | None) -> None:
        self.trace = trace
        self.runtime = Runtime(trace)
        self.registry = Registry()
        self._cells: dict[AnySpec, Cell] = {}
        self._dynamic: dict[str, DynamicSupervisor[Any]] = {}

    @overload
    def ref(self, of: ChildSpec[M]) -> ActorRef[M]: ...
    @overload
    def ref(self, of: DynamicSpec[M]) -> DynamicRef[M]: ...
    @overload
    def ref(self, of: str, actor: type[Actor[M]]) -> ActorRef[M]: ...

    def ref(self, of: object, actor: object = None) -> object:
        """Return the ref of a spec, or of a path or unique name; raises LookupError.

        For a name, `actor` is the class whose messages it takes (for the type checker).
        """
        if isinstance(of, str):
            return ActorRef[Any](self.registry.find(of))
        cell = self._cells.get(cast("AnySpec", of))
        if cell is None:
            raise LookupError(f"{of!r} is not in this tree")
        if isinstance(of, DynamicSpec):
            return DynamicRef(self._dynamic[cell.path])
        return ActorRef[Any](cell)

    def snapshot(self) -> list[Snapshot]:
        """Describe every actor and supervisor now."""
        return self.registry.snapshot()

    def build(self, spec: AnySpec, parent: str = "") -> Child:
        """Make the cells and the supervisors of `spec` and everything below it."""
        cell = self._cell(spec, f"{parent}/{spec.name}" if parent else spec.name)
        if isinstance(spec, ChildSpec):
            return ActorChild(spec, cell)
        if isinstance(spec, DynamicSpec):
            dynamic = DynamicSupervisor[Any](spec, cell, self.runtime, self.registry)
            self._dynamic[cell.path] = dynamic
            return dynamic
        return Supervisor(spec, cell, [self.build(child, cell.path) for child in spec.children])

    def _cell(self, spec: AnySpec, path: str) -> Cell:
        if spec in self._cells:
            raise ValueError(f"{path}: the same spec is already at {self._cells[spec].path}")
        if isinstance(spec, ChildSpec):
            cell = Cell(
                path,
                self.runtime,
                capacity=spec.mailbox,
                overflow=spec.overflow,
                urgent=frozenset(spec.urgent),
            )
        else:
            cell = Cell(path, self.runtime)
        self._cells[spec] = cell
        self.registry.add(cell)
        return cell


def this_tree() -> Tree:
    """Return the tree this code runs in: how a child's `start` finds the refs of its siblings."""
    return TREE.get()


@asynccontextmanager
async def running_tree(spec: SupervisorSpec, *, trace: Trace | None = None) -> AsyncIterator[Tree]:
    """Run the tree of `spec` while the body runs; on the way out stop it, right to left.

    Raises StartFailed if it does not come up. If the root gives up, the body is cancelled and
    the failure (RestartsExhausted, with its causes) is raised.
    """
    tree = Tree(trace)
    root = tree.build(spec)
    body = trio.CancelScope()
    task = Task(root, lambda _: body.cancel(reason="the root supervisor gave up"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_run_root, tree, task)
        try:
            await task.wait_running()
            with body:
                yield tree
        finally:
            with trio.CancelScope(shield=True):
                await task.stop()
            root.cell.end(task.reason, final=True)
    if task.reason is not None:
        raise task.reason


async def _run_root(tree: Tree, task: Task) -> None:
    TREE.set(tree)
    with trio.CancelScope(shield=True):
        await task.run()
