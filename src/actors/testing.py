"""For tests: one actor on its own, a seeded scheduler, waiting until nothing moves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from .actor import Actor
from .child import ChildSpec, Intensity, Restart, SupervisorSpec
from .ref import ActorRef
from .trace import Trace
from .tree import running_tree

M = TypeVar("M")


@asynccontextmanager
async def running(actor: Actor[M], *, trace: Trace | None = None) -> AsyncIterator[ActorRef[M]]:
    """Run one actor under a throw-away supervisor; its crash is raised here."""
    child = ChildSpec("actor", lambda: actor, restart=Restart.TRANSIENT)
    spec = SupervisorSpec("test", (child,), intensity=Intensity(restarts=0))
    async with running_tree(spec, trace=trace) as tree:
        yield tree.ref(child)
