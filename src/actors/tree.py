"""Running a tree: builds what the specs describe, runs it beside the caller, stops it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar, overload

import trio

from .actor import Actor
from .cell import Cell
from .child import AnySpec, ChildSpec, DynamicSpec, SupervisorSpec
from .dynamic import DynamicRef, DynamicSupervisor, KeepsChildren
from .ref import ActorRef
from .registry import Registry, Snapshot
from .runtime import Runtime
from .supervisor import Supervisor
from .task import ActorChild, Child, ChildTask
from .trace import Trace

M = TypeVar("M")

_TREE: Final[ContextVar["Tree"]] = ContextVar("september.actors.tree")


class Tree:
    """A running tree: how to reach the actors in it, and what they are doing."""

    def __init__(self, trace: Trace | None) -> None:
        self.trace = trace
        self.runtime = Runtime(trace)
        self.runtime.context.run(_TREE.set, self)
        self.registry = Registry()
        self._cells: dict[AnySpec, Cell] = {}
        self._dynamic: dict[AnySpec, KeepsChildren[Any]] = {}

    @overload
    def ref(self, of: ChildSpec[M]) -> ActorRef[M]: ...
    @overload
    def ref(self, of: DynamicSpec[M]) -> DynamicRef[M]: ...
    @overload
    def ref(self, of: str, actor: type[Actor[M]]) -> ActorRef[M]: ...

    def ref(
        self, of: ChildSpec[Any] | DynamicSpec[Any] | str, actor: type[Actor[Any]] | None = None
    ) -> ActorRef[Any] | DynamicRef[Any]:
        """Return the ref of a spec, or of a path or unique name; raises LookupError.

        With a name, `actor` is the class whose messages it takes, for the type checker.
        """
        if isinstance(of, str):
            return ActorRef(self.registry.find(of))
        if of not in self._cells:
            raise LookupError(f"{of.name} is not in this tree")
        if isinstance(of, DynamicSpec):
            return DynamicRef(self._dynamic[of])
        return ActorRef(self._cells[of])

    @property
    def dynamic(self) -> frozenset[str]:
        """Paths of the dynamic supervisors: what is below them comes and goes, by key."""
        return frozenset(one.cell.path for one in self._dynamic.values())

    def snapshot(self) -> list[Snapshot]:
        """Describe every actor and supervisor now."""
        return self.registry.snapshot()

    def build(self, spec: AnySpec, boss: Cell | None = None) -> Child:
        """Make the cells and the supervisors of `spec` and everything below it."""
        cell = self._cell(spec, boss)
        if isinstance(spec, ChildSpec):
            return ActorChild(spec, cell)
        if isinstance(spec, DynamicSpec):
            dynamic = DynamicSupervisor(spec, cell, self.registry)
            self._dynamic[spec] = dynamic
            return dynamic
        return Supervisor(spec, cell, [self.build(child, cell) for child in spec.children])

    def _cell(self, spec: AnySpec, boss: Cell | None) -> Cell:
        path = f"{boss.path}/{spec.name}" if boss else spec.name
        if spec in self._cells:
            raise ValueError(f"{path}: the same spec is already at {self._cells[spec].path}")
        cell = Cell(path, self.runtime, boss)
        if isinstance(spec, ChildSpec):
            cell = Cell(
                path,
                self.runtime,
                boss,
                capacity=spec.mailbox,
                overflow=spec.overflow,
                urgent=frozenset(spec.urgent),
            )
        self._cells[spec] = cell
        self.registry.add(cell)
        return cell


@overload
def ref_of(spec: ChildSpec[M]) -> ActorRef[M]: ...
@overload
def ref_of(spec: DynamicSpec[M]) -> DynamicRef[M]: ...


def ref_of(spec: ChildSpec[Any] | DynamicSpec[Any]) -> ActorRef[Any] | DynamicRef[Any]:
    """Return the ref of `spec` in the tree this code runs in.

    For the `start` of a spec and for actors: `lambda: Coordinator(ref_of(SLOTS))`. The actor
    need not run yet. Raises LookupError outside the tasks of a tree.
    """
    return _TREE.get().ref(spec)


@asynccontextmanager
async def running_tree(spec: SupervisorSpec, *, trace: Trace | None = None) -> AsyncGenerator[Tree]:
    """Run the tree of `spec` while the body runs; on the way out stop it, right to left.

    Without a `trace` nothing is traced. Raises StartFailed if the tree does not come up. If
    the root gives up, the body is cancelled and the failure (RestartsExhausted, with its
    causes) is raised. Cancellation from outside stops the tree in order, too.
    """
    tree = Tree(trace)
    root = tree.build(spec)
    body = trio.CancelScope()
    tree.runtime.on_fatal = body.cancel
    task = ChildTask(root, lambda _: body.cancel(reason="the root supervisor ended"))
    raised: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_run_shielded, task, name=spec.name)
        try:
            await task.wait_running()
            with body:
                yield tree
        except BaseException as error:
            raised = error  # raised below, outside the nursery, so that no group wraps it
        with trio.CancelScope(shield=True):
            await task.stop(final=True)
        root.settle(final=True)
    for failure in (tree.runtime.fatal, raised, root.cell.reason):
        if failure is not None:
            raise failure


async def _run_shielded(task: ChildTask) -> None:
    """Keep outer cancellation away: the tree is stopped in order, not all at once."""
    with trio.CancelScope(shield=True):
        await task.run()
