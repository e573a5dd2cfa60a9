"""The tree: its registry, its snapshot, how its members find each other."""

import contextvars
import gc
import tracemalloc
from dataclasses import dataclass

import pytest
import trio
import trio.lowlevel
import trio.testing

from september.actors import (
    Actor,
    ActorRef,
    ChildSpec,
    DynamicSpec,
    Message,
    Reply,
    SupervisorSpec,
    Trace,
    ref_of,
    running_tree,
)
from september.actors.testing import wait_idle

from .probe import Do, DoLater, Note, Probe, ProbeMessage, probe, sleeping
from .slots import Admit, SlotMessage, TaskSlots


async def test_a_ref_is_found_by_spec_path_and_unique_name() -> None:
    a = probe("a")
    spec = SupervisorSpec("root", (SupervisorSpec("x", (a,)), SupervisorSpec("y", (probe("b"),))))
    async with running_tree(spec) as tree:
        assert tree.ref(a).path == "root/x/a"
        assert tree.ref("root/x/a", Probe) == tree.ref(a)
        assert tree.ref("a", Probe) == tree.ref(a)


async def test_a_name_that_is_unknown_or_ambiguous_is_refused_with_what_there_is() -> None:
    groups = (SupervisorSpec("x", (probe("a"),)), SupervisorSpec("y", (probe("a"),)))
    async with running_tree(SupervisorSpec("root", groups)) as tree:
        with pytest.raises(LookupError, match="found nothing"):
            tree.ref("b", Probe)
        with pytest.raises(LookupError, match="found root/x/a, root/y/a"):
            tree.ref("a", Probe)
        with pytest.raises(LookupError, match="not in this tree"):
            tree.ref(probe("a"))


def test_one_spec_object_cannot_stand_in_two_places() -> None:
    a = probe("a")
    spec = SupervisorSpec("root", (SupervisorSpec("x", (a,)), SupervisorSpec("y", (a,))))

    async def run() -> None:
        async with running_tree(spec):
            pass

    with pytest.raises(ValueError, match="already at root/x/a"):
        trio.run(run)


@dataclass(frozen=True, slots=True)
class Neighbour(Message[str]):
    """Ask who is next door."""


class Neighbourly(Actor[Neighbour]):
    """Knows another actor since it was made."""

    def __init__(self, other: ActorRef[ProbeMessage]) -> None:
        self._other = other

    async def handle(self, msg: Neighbour) -> Reply:
        return msg.reply(self._other.path)


async def test_a_start_can_name_a_sibling_that_comes_later() -> None:
    late = probe("late")
    early = ChildSpec("early", lambda: Neighbourly(ref_of(late)))
    async with running_tree(SupervisorSpec("root", (early, late))) as tree:
        assert await tree.ref(early).call(Neighbour()) == "root/late"


async def test_a_message_sent_before_its_actor_runs_waits_for_it() -> None:
    late = probe("late")

    async def tell() -> None:
        ref_of(late).cast(Note("early bird"))

    early = ChildSpec("early", lambda: Probe("early", on_start=tell))
    async with running_tree(SupervisorSpec("root", (early, late))) as tree:
        await tree.ref(late).call(Note("end"))
        snapshot = {one.path: one for one in tree.snapshot()}
        assert snapshot["root/late"].handled == 2


async def test_refs_of_dynamic_children_are_found_while_they_run() -> None:
    spec = DynamicSpec[ProbeMessage]("many")
    async with running_tree(SupervisorSpec("root", (spec,))) as tree:
        many = tree.ref(spec)
        ref = await many.start("x", Probe)
        assert tree.ref("x", Probe) == ref
        await many.stop("x")
        with pytest.raises(LookupError):
            tree.ref("x", Probe)


async def test_the_snapshot_shows_what_each_actor_is_doing_and_whom_it_waits_for() -> None:
    a, b = probe("a"), probe("b")
    release = trio.Event()

    async def wait(_: Probe) -> None:
        await release.wait()

    async with running_tree(SupervisorSpec("root", (a, b)), trace=Trace()) as tree:
        ref_b = tree.ref(b)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tree.ref(a).call, Do(lambda _: ref_b.call(Do(wait))))
            await trio.testing.wait_all_tasks_blocked()
            ref_b.cast(Note("queued"))
            seen = {one.path: one for one in tree.snapshot()}
            release.set()
    assert seen["root"].state == "running"
    assert seen["root/a"].message_type == "Do"
    assert seen["root/a"].waiting_on == ("root/b",)
    assert seen["root/b"].mailbox_depth == 1
    assert seen["root/b"].mailbox_capacity == 256
    busy = seen["root/b"].busy_s
    assert busy is not None
    assert busy >= 0


async def test_the_snapshot_shows_work_beside_the_inbox() -> None:
    a, release = probe("a"), trio.Event()
    async with running_tree(SupervisorSpec("root", (a,)), trace=Trace()) as tree:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tree.ref(a).call, DoLater(release.wait))
            await trio.testing.wait_all_tasks_blocked()
            seen = tree.snapshot()[1]
            release.set()
        (work,) = seen.beside
        assert (seen.message_type, work.message_type, work.waiting_on) == ("", "DoLater", ())
        assert work.busy_s is not None and work.busy_s >= 0
        assert tree.snapshot()[1].beside == ()


async def test_actors_inherit_nothing_from_the_context_of_whoever_starts_them() -> None:
    asked: contextvars.ContextVar[str] = contextvars.ContextVar("asked", default="clean")
    spec = DynamicSpec[ProbeMessage]("many")

    async def look(_: Probe) -> str:
        return asked.get()

    async with running_tree(SupervisorSpec("root", (spec,))) as tree:
        asked.set("request 7")
        ref = await tree.ref(spec).start("x", Probe)
        assert await ref.call(Do(look)) == "clean"


async def test_wait_idle_waits_until_no_message_is_left(
    autojump_clock: trio.testing.MockClock,
) -> None:
    child = ChildSpec("slots", lambda: TaskSlots(1))
    other = probe("a")
    async with running_tree(SupervisorSpec("root", (child, other))) as tree:
        tree.ref(other).cast(Do(sleeping(3)))
        await tree.ref(child).call(Admit("x"))
        await trio.lowlevel.checkpoint()
        await wait_idle(tree)
        assert trio.current_time() == pytest.approx(3, abs=0.02)


async def test_an_idle_actor_weighs_at_most_ten_kilobytes() -> None:
    spec = DynamicSpec[SlotMessage]("many")
    async with running_tree(SupervisorSpec("root", (spec,)), trace=Trace(keep=16)) as tree:
        many = tree.ref(spec)
        await many.start("first", lambda: TaskSlots(1))
        gc.collect()
        tracemalloc.start()
        for number in range(500):
            await many.start(str(number), lambda: TaskSlots(1))
        gc.collect()
        weight = tracemalloc.get_traced_memory()[0] / 500
        tracemalloc.stop()
    assert weight <= 10 * 1024
