"""Calls: answers, crashes, deadlines, withdrawal, restarts."""

from math import inf

import pytest
import trio
import trio.testing

from september.actors import (
    ActorCrashed,
    ActorStopped,
    Backoff,
    CallTimeout,
    ChildSpec,
    Kind,
    Restart,
    State,
    SupervisorSpec,
    Trace,
    ref_of,
    running_tree,
    span_scope,
)
from september.actors.testing import running

from .probe import Boom, Diary, Do, DoLater, Note, Probe, crash, incarnation, probe, sleeping

FIXED = Backoff(first=1.0, jitter=0.0)


async def test_the_caller_of_the_crashing_message_hears_the_cause() -> None:
    child = probe("a")
    async with running_tree(SupervisorSpec("root", (child,))) as tree:
        with pytest.raises(ActorCrashed, match="root/a crashed: Boom") as heard:
            await tree.ref(child).call(Do(crash))
    assert isinstance(heard.value.__cause__, Boom)


async def test_a_call_without_an_answer_in_time_raises_call_timeout(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running(Probe()) as ref:
        with pytest.raises(CallTimeout, match="did not answer Do within 2"):
            await ref.call(Do(sleeping(60)), timeout=2)
        assert trio.current_time() == pytest.approx(2)


async def test_a_deadline_propagates_down_a_chain_of_calls(
    autojump_clock: trio.testing.MockClock,
) -> None:
    seen: list[float] = []
    a, b, c = probe("a"), probe("b"), probe("c")
    async with running_tree(SupervisorSpec("root", (a, b, c))) as tree:
        ref_b, ref_c = tree.ref(b), tree.ref(c)

        async def in_b(_: Probe) -> None:
            try:
                await ref_c.call(Do(sleeping(60)), timeout=50)
            except CallTimeout:
                seen.append(trio.current_time())
                raise

        with pytest.raises(CallTimeout):
            await tree.ref(a).call(Do(lambda _: ref_b.call(Do(in_b), timeout=20)), timeout=3)
        await trio.testing.wait_all_tasks_blocked()
    assert seen == [pytest.approx(3)]


async def test_the_shorter_timeout_of_a_nested_call_wins(
    autojump_clock: trio.testing.MockClock,
) -> None:
    a, b = probe("a"), probe("b")
    async with running_tree(SupervisorSpec("root", (a, b))) as tree:
        ref_b = tree.ref(b)

        async def in_a(_: Probe) -> float:
            with pytest.raises(CallTimeout):
                await ref_b.call(Do(sleeping(60)), timeout=1)
            return trio.current_time()

        assert await tree.ref(a).call(Do(in_a), timeout=9) == pytest.approx(1)


async def test_a_span_scope_gives_its_calls_a_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running(Probe()) as ref:
        with span_scope(deadline=trio.current_time() + 4), pytest.raises(CallTimeout):
            await ref.call(Do(sleeping(60)))
        assert trio.current_time() == pytest.approx(4)


async def test_a_cast_does_not_inherit_the_deadline() -> None:
    deadlines: list[float] = []

    class Recorder(Probe):
        async def handle(self, msg):  # type: ignore[no-untyped-def]
            deadlines.append(self._cell.current.deadline if self._cell.current else 0)
            return await super().handle(msg)

    async with running(Recorder()) as ref:

        async def cast_to_itself(actor: Probe) -> None:
            actor.ref.cast(Note("x"))

        await ref.call(Do(cast_to_itself), timeout=5)
        await ref.call(Note("y"))
    assert deadlines[0] < inf
    assert deadlines[1] == inf


async def test_a_missed_deadline_is_traced(autojump_clock: trio.testing.MockClock) -> None:
    trace = Trace()
    async with running(Probe(), trace=trace) as ref:
        with pytest.raises(CallTimeout):
            await ref.call(Do(sleeping(60)), timeout=2)
    assert trace.counts[Kind.DEADLINE] == 1


async def test_a_cancelled_caller_withdraws_its_queued_request(
    autojump_clock: trio.testing.MockClock,
) -> None:
    actor = Probe()
    async with running(actor) as ref, trio.open_nursery() as nursery:
        nursery.start_soon(ref.call, Do(sleeping(5)))
        await trio.sleep(1)
        with trio.move_on_after(1) as scope:
            await ref.call(Note("withdrawn"))
        assert scope.cancelled_caught
        assert len(ref.cell.mailbox) == 0
    assert "withdrawn" not in actor.diary.lines


async def test_a_cancelled_caller_cancels_the_long_work_it_asked_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    cancelled = trio.Event()

    async def forever() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled.set()
            raise

    async with running(Probe()) as ref:
        with trio.move_on_after(1):
            await ref.call(DoLater(forever))
        await cancelled.wait()
        await ref.call(Note("still serving"))


async def test_long_work_whose_caller_gives_up_before_it_begins_is_not_done() -> None:
    begun: list[str] = []
    release = trio.Event()

    async def work() -> None:
        await trio.lowlevel.checkpoint()
        begun.append("done")

    async def wait(_: Probe) -> None:
        await release.wait()

    async def give_up(_: Probe) -> None:
        scope.cancel()

    async with running(Probe()) as ref, trio.open_nursery() as nursery:
        nursery.start_soon(ref.call, Do(wait))
        await trio.testing.wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as askers:
                askers.start_soon(ref.call, DoLater(work))
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(ref.call, Do(give_up))
                await trio.testing.wait_all_tasks_blocked()
                release.set()
        await trio.testing.wait_all_tasks_blocked()
    assert begun == []


async def test_a_handler_whose_caller_gave_up_runs_to_its_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    diary = Diary()

    async def slow(actor: Probe) -> None:
        await trio.sleep(5)
        actor.diary.write("finished")

    async with running(Probe("probe", diary)) as ref:
        with trio.move_on_after(1):
            await ref.call(Do(slow))
        await ref.call(Note("next"))
    assert diary.lines[1:3] == ["finished", "next"]


async def test_a_call_to_a_stopped_actor_raises_at_once() -> None:
    async with running(Probe()) as ref:
        pass
    assert ref.status is State.STOPPED
    with pytest.raises(ActorStopped):
        await ref.call(Note("x"))


async def test_a_queued_call_hears_that_the_actor_stopped() -> None:
    child = probe("a", restart=Restart.TEMPORARY)
    release = trio.Event()

    async def stop(actor: Probe) -> None:
        await release.wait()
        actor.stop()

    async def hear() -> None:
        with pytest.raises(ActorStopped):
            await tree.ref(child).call(Note("x"))

    async with running_tree(SupervisorSpec("root", (child,))) as tree, trio.open_nursery() as n:
        n.start_soon(tree.ref(child).call, Do(stop))
        await trio.testing.wait_all_tasks_blocked()
        n.start_soon(hear)
        await trio.testing.wait_all_tasks_blocked()
        release.set()


async def test_a_call_during_a_restart_waits_for_the_next_incarnation(
    autojump_clock: trio.testing.MockClock,
) -> None:
    child = probe("a")
    async with running_tree(SupervisorSpec("root", (child,), backoff=FIXED)) as tree:
        ref = tree.ref(child)
        ref.cast(Do(crash))
        await trio.sleep(0.5)
        assert ref.status is State.DOWN
        assert await ref.call(Do(incarnation)) == 2
        assert trio.current_time() == pytest.approx(1)


async def test_messages_behind_the_crashing_one_are_kept_for_the_next_incarnation(
    autojump_clock: trio.testing.MockClock,
) -> None:
    diary = Diary()
    child = probe("a", diary)
    async with running_tree(SupervisorSpec("root", (child,))) as tree:
        ref = tree.ref(child)
        ref.cast(Do(crash))
        ref.cast(Note("kept"))
        await ref.call(Note("end"))
    assert diary.lines == ["a started", "a stopping", "a started", "kept", "end", "a stopping"]


async def test_a_child_that_does_not_keep_its_mailbox_loses_what_is_behind_the_crash(
    autojump_clock: trio.testing.MockClock,
) -> None:
    diary, trace = Diary(), Trace()
    child = probe("a", diary, keep_mailbox=False)
    async with running_tree(SupervisorSpec("root", (child,)), trace=trace) as tree:
        ref = tree.ref(child)
        ref.cast(Do(crash))
        ref.cast(Note("lost"))
        with pytest.raises(ActorStopped):
            await ref.call(Note("refused"))
        await ref.call(Note("end"))
    assert diary.lines == ["a started", "a stopping", "a started", "end", "a stopping"]
    assert trace.counts[Kind.DEAD_LETTER] == 1


async def test_a_call_reaches_an_actor_that_has_not_started_yet() -> None:
    diary = Diary()
    late = probe("late", diary)

    async def tell() -> None:
        ref_of(late).cast(Note("early bird"))

    early = ChildSpec("early", lambda: Probe("early", diary, on_start=tell))
    async with running_tree(SupervisorSpec("root", (early, late))) as running:
        await running.ref(late).call(Note("end"))
    assert diary.lines[:4] == ["early started", "late started", "early bird", "end"]
