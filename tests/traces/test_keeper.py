"""The keeper: whatever it is interrupted by, each observation is stored once or counted as lost."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import structlog
import trio
import trio.testing

from september.actors import ChildSpec, Intensity, SupervisorSpec, Trace, Tree, running_tree
from september.errors import SeptemberError
from september.traces.keeper import BATCH, Bounds, Flush, KeeperMessage, TraceKeeper
from september.traces.recorder import Recorder
from september.traces.render import Renderer
from september.traces.row import TraceRow

OFFLINE = SeptemberError("STORAGE_ERROR", "the disk is away")


async def _nothing() -> None:
    pass


@dataclass
class Shelf:
    """A store; `before` and `after` run around each write, which happens between the two."""

    rows: dict[str, TraceRow] = field(default_factory=dict[str, TraceRow])
    batches: int = 0
    before: Callable[[], Awaitable[None]] = _nothing
    after: Callable[[], Awaitable[None]] = _nothing

    async def begin(self, began_at: int) -> None:
        pass

    async def mend(self) -> None:
        pass

    async def keep(self, batch: Sequence[TraceRow]) -> None:
        await self.before()
        if batch[0].span_id not in self.rows:
            assert not any(row.span_id in self.rows for row in batch), "stored twice"
            self.rows.update((row.span_id, row) for row in batch)
            self.batches += 1
        await self.after()

    async def size(self) -> int:
        return 0

    async def prune(self, before: int, excess: int) -> int:
        return 0


@dataclass
class Kept:
    """A keeper at work."""

    trace: Trace
    recorder: Recorder
    tree: Tree
    spec: ChildSpec[KeeperMessage]

    def work(self, spans: int, name: str = "work") -> None:
        for number in range(spans):
            with self.trace.span(f"{name} {number}"):
                pass


@asynccontextmanager
async def keeping(shelf: Shelf) -> AsyncGenerator[Kept]:
    trace = Trace()
    recorder = Recorder(trace, Renderer())
    spec = ChildSpec[KeeperMessage]("keeper", lambda: TraceKeeper(recorder, shelf, Bounds()))
    root = SupervisorSpec("root", (spec,), intensity=Intensity(restarts=2))
    async with running_tree(root, trace=trace) as tree:
        yield Kept(trace, recorder, tree, spec)


def stored(shelf: Shelf, name: str = "work") -> list[str]:
    """The spans called `name` that are stored, in the order of their numbers."""
    paths = [row.path for row in shelf.rows.values() if row.path.startswith(f"{name} ")]
    return sorted(paths, key=lambda path: int(path.split()[-1]))


def all_of(spans: int, name: str = "work") -> list[str]:
    return [f"{name} {number}" for number in range(spans)]


@pytest.mark.parametrize("committed", [False, True])
async def test_a_stop_in_the_middle_of_a_write_loses_nothing_and_doubles_nothing(
    committed: bool,
) -> None:
    shelf, writing = Shelf(), trio.Event()

    async def hang() -> None:
        if not writing.is_set():
            writing.set()
            await trio.sleep_forever()

    if committed:
        shelf.after = hang
    else:
        shelf.before = hang
    async with keeping(shelf) as kept:
        kept.work(3, "first")
        await writing.wait()
        kept.work(BATCH + 7)
    assert stored(shelf, "first") == all_of(3, "first")
    assert stored(shelf) == all_of(BATCH + 7)
    assert kept.recorder.losses.store == 0


async def test_a_write_whose_answer_was_lost_is_repeated_and_stored_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    shelf, refused = Shelf(), trio.Event()

    async def fail_once() -> None:
        if not refused.is_set():
            refused.set()
            raise OFFLINE

    shelf.after = fail_once
    async with keeping(shelf) as kept:
        kept.work(5)
        await refused.wait()
    assert stored(shelf) == all_of(5) and kept.recorder.losses.store == 0


async def test_a_flush_writes_what_a_withdrawn_one_had_begun_and_all_that_came_since() -> None:
    shelf, writing = Shelf(), trio.Event()

    async def hang_once() -> None:
        if not writing.is_set():
            writing.set()
            await trio.sleep_forever()

    shelf.before = hang_once
    async with keeping(shelf) as kept:
        keeper = kept.tree.ref(kept.spec)
        async with trio.open_nursery() as nursery:
            kept.work(3, "first")
            nursery.start_soon(keeper.call, Flush())
            await writing.wait()
            nursery.cancel_scope.cancel()
        kept.work(4)
        await keeper.call(Flush())
        assert stored(shelf, "first") == all_of(3, "first") and stored(shelf) == all_of(4)


async def test_a_bug_in_the_store_costs_one_batch_which_is_counted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    shelf, broken = Shelf(), trio.Event()

    async def break_once() -> None:
        if not broken.is_set():
            broken.set()
            raise ZeroDivisionError

    shelf.before = break_once
    async with keeping(shelf) as kept:
        kept.work(3, "first")
        await broken.wait()
        kept.work(4)
    assert stored(shelf, "first") == [] and stored(shelf) == all_of(4)
    assert kept.recorder.losses.store >= 3


async def test_what_cannot_be_written_at_the_stop_is_counted_and_said(
    autojump_clock: trio.testing.MockClock,
) -> None:
    shelf, writing = Shelf(), trio.Event()

    async def hang() -> None:
        writing.set()
        await trio.sleep_forever()

    shelf.before = hang
    with structlog.testing.capture_logs() as said:
        async with keeping(shelf) as kept:
            kept.work(20)
            await writing.wait()
    assert kept.recorder.losses.store >= 20
    (line,) = [one for one in said if "observations are lost" in one["event"]]
    assert line["count"] == kept.recorder.losses.store
