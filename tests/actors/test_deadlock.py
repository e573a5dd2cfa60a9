"""Deadlocks: a chain of calls that closes on itself fails at once, with the path."""

import pytest
import trio
import trio.testing

from september.actors import (
    ActorRef,
    ChildSpec,
    DeadlockDetected,
    Kind,
    StartFailed,
    SupervisorSpec,
    Trace,
    ref_of,
    running_tree,
    span_scope,
)

from .probe import Do, DoLater, Note, Probe, ProbeMessage, probe, sleeping


async def names(ref: ActorRef[ProbeMessage], *rest: ActorRef[ProbeMessage]) -> str:
    """Call along a chain of actors; return the circle that is found at its end."""

    async def onwards(_: Probe) -> str:
        if not rest:
            return "no deadlock"
        try:
            return await names(*rest)
        except DeadlockDetected as found:
            return " ".join(found.path)

    return await ref.call(Do(onwards))


async def test_an_actor_that_calls_itself_is_told_at_once() -> None:
    a = probe("a")
    async with running_tree(SupervisorSpec("root", (a,))) as tree:
        ref = tree.ref(a)
        assert await names(ref, ref) == "root/a root/a"


async def test_a_chain_that_closes_on_itself_is_told_with_its_path() -> None:
    specs = [probe(name) for name in "abc"]
    trace = Trace()
    async with running_tree(SupervisorSpec("root", tuple(specs)), trace=trace) as tree:
        a, b, c = (tree.ref(spec) for spec in specs)
        assert await names(a, b, c, a) == "root/c root/a root/b root/c"
        assert await names(a, b, c) == "no deadlock"
    assert trace.counts[Kind.DEADLOCK] == 1


async def test_two_chains_that_wait_for_each_other_are_found_within_a_second(
    autojump_clock: trio.testing.MockClock,
) -> None:
    a_spec, b_spec = probe("a"), probe("b")
    found: list[str] = []
    async with running_tree(SupervisorSpec("root", (a_spec, b_spec))) as tree:
        a, b = tree.ref(a_spec), tree.ref(b_spec)

        async def cross(mine: ActorRef[ProbeMessage], other: ActorRef[ProbeMessage]) -> None:
            async def work(_: Probe) -> None:
                await trio.sleep(1)
                try:
                    await other.call(Note("x"))
                except DeadlockDetected as error:
                    found.append(" ".join(error.path))

            await mine.call(Do(work))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cross, a, b)
            nursery.start_soon(cross, b, a)
        assert trio.current_time() < 2
    assert found[0] in ("root/a root/b root/a", "root/b root/a root/b")
    assert len(found) == 1


async def test_a_call_from_long_work_back_to_the_waiting_caller_is_a_deadlock() -> None:
    a_spec, b_spec = probe("a"), probe("b")
    async with running_tree(SupervisorSpec("root", (a_spec, b_spec))) as tree:
        a, b = tree.ref(a_spec), tree.ref(b_spec)

        async def back() -> str:
            try:
                await a.call(Note("x"))
            except DeadlockDetected as found:
                return " ".join(found.path)
            return "none"

        path = await a.call(Do(lambda _: b.call(DoLater(back))))
    assert path == "root/b root/a root/b"


async def test_long_work_may_call_its_own_actor() -> None:
    a_spec = probe("a")
    async with running_tree(SupervisorSpec("root", (a_spec,))) as tree:
        a = tree.ref(a_spec)
        await a.call(DoLater(lambda: a.call(Note("fine"))))


async def test_a_call_inside_a_span_scope_still_belongs_to_the_message() -> None:
    a_spec = probe("a")
    async with running_tree(SupervisorSpec("root", (a_spec,))) as tree:
        a = tree.ref(a_spec)

        async def work(_: Probe) -> None:
            with span_scope(), pytest.raises(DeadlockDetected):
                await a.call(Note("x"))

        await a.call(Do(work))


async def test_a_send_that_waits_for_room_takes_part_in_the_search() -> None:
    a_spec, b_spec = probe("a"), probe("b", mailbox=1)
    async with running_tree(SupervisorSpec("root", (a_spec, b_spec))) as tree:
        a, b = tree.ref(a_spec), tree.ref(b_spec)

        async def fill(_: Probe) -> None:
            b.cast(Note("1"))
            await b.send(Note("2"))

        async def call_a(_: Probe) -> None:
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(DeadlockDetected):
                await a.call(Note("x"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(b.call, Do(call_a))
            nursery.start_soon(a.call, Do(fill))


async def test_a_start_that_waits_for_a_later_sibling_is_a_deadlock() -> None:
    late = probe("late")

    async def call_late() -> None:
        await ref_of(late).call(Note("x"))

    early = ChildSpec("early", lambda: Probe(on_start=call_late))
    inner = SupervisorSpec("inner", (early,))
    with pytest.raises(StartFailed) as failure:
        async with running_tree(SupervisorSpec("root", (inner, late))):
            pytest.fail("the body must not run")
    assert isinstance(failure.value.__cause__, DeadlockDetected)


async def test_a_busy_actor_is_not_a_deadlock(autojump_clock: trio.testing.MockClock) -> None:
    specs = [probe(name) for name in "abc"]
    async with running_tree(SupervisorSpec("root", tuple(specs))) as tree:
        a, b, c = (tree.ref(spec) for spec in specs)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(c.call, Do(sleeping(5)))
            for ref in (a, b):
                nursery.start_soon(ref.call, Do(lambda _: c.call(Note("x"))))
    assert trio.current_time() == pytest.approx(5)
