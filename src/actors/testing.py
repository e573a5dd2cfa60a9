"""For tests: one actor on its own, a seeded scheduler, waiting until nothing moves."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from random import Random
from typing import Final, TypeVar

import trio
import trio.testing

from .actor import Actor
from .child import ChildSpec, Intensity, Restart, SupervisorSpec
from .errors import RestartsExhausted
from .ref import ActorRef
from .restart import JITTER
from .span import reseed_ids
from .trace import Trace
from .tree import Tree, running_tree

M = TypeVar("M")
T = TypeVar("T")

_POLL: Final = 0.01
"""Seconds between two looks; on a MockClock they pass at once."""

_SWITCH: Final = "_ALLOW_DETERMINISTIC_SCHEDULING"


@asynccontextmanager
async def running(actor: Actor[M], *, trace: Trace | None = None) -> AsyncGenerator[ActorRef[M]]:
    """Run one actor under a throw-away supervisor; its crash is raised here.

    For tests of restarts, run a tree.
    """
    child = ChildSpec("actor", lambda: actor, restart=Restart.TRANSIENT)
    spec = SupervisorSpec("test", (child,), intensity=Intensity(restarts=0))
    try:
        async with running_tree(spec, trace=trace) as tree:
            yield tree.ref(child)
    except RestartsExhausted as gave_up:
        raise (gave_up.__cause__ or gave_up) from None


async def wait_idle(tree: Tree) -> None:
    """Wait until no actor of the tree holds a message or has one waiting."""
    await trio.testing.wait_all_tasks_blocked()
    while any(one.mailbox_depth or one.message_type for one in tree.snapshot()):
        await trio.sleep(_POLL)
        await trio.testing.wait_all_tasks_blocked()


def run_seeded(seed: int, main: Callable[[], Awaitable[T]]) -> T:
    """Run `main` so that the same seed gives the same run: scheduling, jitter, ids and time.

    Time is a MockClock that jumps when everything waits. Threads and I/O are not repeatable.
    trio offers this through private names only, hence the pinned version and the test that
    guards it.
    """
    with _deterministic(seed):
        return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@contextmanager
def _deterministic(seed: int) -> Generator[None]:
    scheduler = import_module("trio._core._run")  # private: this is the one place
    choices: Random = scheduler._r
    switched, state, jitter = getattr(scheduler, _SWITCH), choices.getstate(), JITTER.getstate()
    setattr(scheduler, _SWITCH, True)
    choices.seed(seed)
    JITTER.seed(seed)
    reseed_ids(seed)
    try:
        yield
    finally:
        setattr(scheduler, _SWITCH, switched)
        choices.setstate(state)
        JITTER.setstate(jitter)
