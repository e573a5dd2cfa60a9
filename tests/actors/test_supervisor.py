"""Supervisors: order, strategies, restart kinds, intensity, backoff, shutdown times."""

from itertools import count
from math import inf

import pytest
import trio
import trio.testing

from september.actors import (
    ActorCrashed,
    ActorStopped,
    Backoff,
    ChildSpec,
    Intensity,
    Killed,
    Kind,
    Restart,
    RestartsExhausted,
    StartFailed,
    State,
    Strategy,
    SupervisorSpec,
    Trace,
    Tree,
    running_tree,
)

from .probe import (
    Boom,
    Diary,
    Do,
    Note,
    Probe,
    ProbeMessage,
    crash,
    incarnation,
    probe,
    sleeping,
    stop,
)

EXACT = Backoff(first=1.0, factor=2.0, max=5.0, jitter=0.0)


async def crash_and_settle(tree: Tree, child: ChildSpec[ProbeMessage]) -> None:
    """Crash a child and wait until it serves again."""
    ref = tree.ref(child)
    with pytest.raises(ActorCrashed):
        await ref.call(Do(crash))
    await ref.call(Note("back"))


async def test_children_start_left_to_right_and_stop_right_to_left() -> None:
    diary = Diary()
    inner = SupervisorSpec("inner", (probe("b", diary), probe("c", diary)))
    spec = SupervisorSpec("root", (probe("a", diary), inner, probe("d", diary)))
    async with running_tree(spec):
        pass
    assert diary.lines == [
        *("a started", "b started", "c started", "d started"),
        *("d stopping", "c stopping", "b stopping", "a stopping"),
    ]


async def test_a_child_starts_only_when_the_one_before_it_serves(
    autojump_clock: trio.testing.MockClock,
) -> None:
    diary = Diary()

    async def slow() -> None:
        await trio.sleep(9)
        diary.write("a ready")

    first = ChildSpec("a", lambda: Probe("a", diary, on_start=slow))
    async with running_tree(SupervisorSpec("root", (first, probe("b", diary)))):
        assert diary.lines == ["a started", "a ready", "b started"]


@pytest.mark.parametrize(
    ("strategy", "restarted"),
    [
        (Strategy.ONE_FOR_ONE, "b"),
        (Strategy.REST_FOR_ONE, "bc"),
        (Strategy.ONE_FOR_ALL, "abc"),
    ],
)
async def test_the_strategy_says_who_is_restarted(
    strategy: Strategy, restarted: str, autojump_clock: trio.testing.MockClock
) -> None:
    children = [probe(name) for name in "abc"]
    spec = SupervisorSpec("root", tuple(children), strategy=strategy)
    async with running_tree(spec) as tree:
        await crash_and_settle(tree, children[1])
        lives = {child.name: await tree.ref(child).call(Do(incarnation)) for child in children}
    assert lives == {name: 2 if name in restarted else 1 for name in "abc"}


async def test_a_group_is_stopped_right_to_left_and_started_left_to_right(
    autojump_clock: trio.testing.MockClock,
) -> None:
    diary = Diary()
    children = [probe(name, diary) for name in "abc"]
    spec = SupervisorSpec("root", tuple(children), strategy=Strategy.ONE_FOR_ALL)
    async with running_tree(spec) as tree:
        with pytest.raises(ActorCrashed):
            await tree.ref(children[1]).call(Do(crash))
        await trio.testing.wait_all_tasks_blocked()
        await tree.ref(children[2]).call(Note("c back"))
    assert diary.lines[3:10] == [
        *("b stopping", "c stopping", "a stopping"),
        *("a started", "b started", "c started", "c back"),
    ]


@pytest.mark.parametrize(
    ("restart", "after_crash", "after_end"),
    [
        (Restart.PERMANENT, State.RUNNING, State.RUNNING),
        (Restart.TRANSIENT, State.RUNNING, State.STOPPED),
        (Restart.TEMPORARY, State.STOPPED, State.STOPPED),
    ],
)
async def test_the_restart_kind_says_after_which_end_a_child_comes_back(
    restart: Restart,
    after_crash: State,
    after_end: State,
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def stop(actor: Probe) -> None:
        actor.stop()

    for work, expected in ((crash, after_crash), (stop, after_end)):
        child = probe("a", restart=restart)
        async with running_tree(SupervisorSpec("root", (child,))) as tree:
            tree.ref(child).cast(Do(work))
            await trio.sleep(10)
            assert tree.ref(child).status is expected


async def test_a_ref_survives_a_restart() -> None:
    child = probe("a")
    spec = SupervisorSpec("root", (child,), backoff=Backoff(first=0))
    async with running_tree(spec) as tree:
        ref = tree.ref(child)
        assert await ref.call(Do(incarnation)) == 1
        ref.cast(Do(crash))
        assert await ref.call(Do(incarnation)) == 2
        assert ref.path == "root/a"


async def test_restarts_wait_longer_each_time_up_to_the_maximum(
    autojump_clock: trio.testing.MockClock,
) -> None:
    child = probe("a")
    times: list[float] = []
    spec = SupervisorSpec("root", (child,), intensity=Intensity(10, 1000), backoff=EXACT)
    async with running_tree(spec) as tree:
        for _ in range(5):
            began = trio.current_time()
            await crash_and_settle(tree, child)
            times.append(round(trio.current_time() - began, 6))
    assert times == [1, 2, 4, 5, 5]


def test_jitter_stays_within_its_share() -> None:
    backoff = Backoff(first=1.0, jitter=0.2)
    assert backoff.delay(1, 0.0) == pytest.approx(0.8)
    assert backoff.delay(1, 1.0) == pytest.approx(1.2)
    assert backoff.delay(10_000, 0.5) == backoff.max


async def test_restarts_outside_the_window_are_forgotten(
    autojump_clock: trio.testing.MockClock,
) -> None:
    child = probe("a")
    spec = SupervisorSpec("root", (child,), intensity=Intensity(1, 10), backoff=EXACT)
    async with running_tree(spec) as tree:
        for _ in range(4):
            await crash_and_settle(tree, child)
            await trio.sleep(10)
        assert await tree.ref(child).call(Do(incarnation)) == 5


async def test_a_root_that_gives_up_cancels_the_body_and_raises_with_the_cause(
    autojump_clock: trio.testing.MockClock,
) -> None:
    child = probe("a")
    reached = False
    with pytest.raises(RestartsExhausted, match="root gave up on root/a: over 2") as failure:
        async with running_tree(
            SupervisorSpec("root", (child,), intensity=Intensity(2, 60))
        ) as tree:
            for _ in range(3):
                tree.ref(child).cast(Do(crash))
            await trio.sleep_forever()
            reached = True
    assert not reached
    assert isinstance(failure.value.__cause__, Boom)


async def test_a_supervisor_that_gives_up_fails_upwards_and_is_restarted_with_its_children(
    autojump_clock: trio.testing.MockClock,
) -> None:
    a, b = probe("a"), probe("b")
    inner = SupervisorSpec("inner", (a, b), intensity=Intensity(0))
    trace = Trace()
    async with running_tree(SupervisorSpec("root", (inner,)), trace=trace) as tree:
        await crash_and_settle(tree, a)
        assert await tree.ref(b).call(Do(incarnation)) == 2
        assert not tree.ref(a).stopped
    assert trace.counts[Kind.GAVE_UP] == 1


async def test_a_failed_start_is_heard_by_the_starter_and_nothing_is_left_running() -> None:
    diary = Diary()

    async def fail() -> None:
        raise Boom

    bad = ChildSpec("bad", lambda: Probe("bad", diary, on_start=fail))
    spec = SupervisorSpec("root", (probe("a", diary), SupervisorSpec("inner", (bad,))))
    with pytest.raises(StartFailed, match="root/inner/bad could not start: Boom") as failure:
        async with running_tree(spec):
            pytest.fail("the body must not run")
    assert isinstance(failure.value.__cause__, Boom)
    assert diary.lines == ["a started", "bad started", "bad stopping", "a stopping"]


async def test_a_factory_that_raises_is_a_failed_start() -> None:
    def make() -> Probe:
        raise Boom

    with pytest.raises(StartFailed):
        async with running_tree(SupervisorSpec("root", (ChildSpec("a", make),))):
            pytest.fail("the body must not run")


async def test_a_failed_restart_counts_as_a_restart_and_is_tried_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    lives = count(1)

    async def fail_twice() -> None:
        if next(lives) in (2, 3):
            raise Boom

    child = ChildSpec("a", lambda: Probe(on_start=fail_twice))
    async with running_tree(SupervisorSpec("root", (child,))) as tree:
        await crash_and_settle(tree, child)
        assert await tree.ref(child).call(Do(incarnation)) == 4


async def test_a_child_that_outlives_its_shutdown_time_is_cancelled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    child = probe("a", shutdown=3)
    async with trio.open_nursery() as nursery:
        async with running_tree(SupervisorSpec("root", (child,))) as tree:
            ref = tree.ref(child)
            nursery.start_soon(_ignore_the_end, tree, child)
            await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() == pytest.approx(3)
    assert isinstance((await ref.wait_stopped()).reason, Killed)


async def _ignore_the_end(tree: Tree, child: ChildSpec[ProbeMessage]) -> None:
    with pytest.raises(ActorStopped):
        await tree.ref(child).call(Do(sleeping(inf)))


async def test_an_exception_group_with_one_member_is_unwrapped_before_it_is_reported() -> None:
    async def crash_in_nursery(_: Probe) -> None:
        async with trio.open_nursery() as outer, trio.open_nursery():
            outer.start_soon(crash)

    child = probe("a")
    async with running_tree(SupervisorSpec("root", (child,))) as tree:
        with pytest.raises(ActorCrashed) as heard:
            await tree.ref(child).call(Do(crash_in_nursery))
    assert isinstance(heard.value.__cause__, Boom)


async def test_one_for_one_restarts_several_children_at_the_same_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    children = [probe(name) for name in "abc"]
    spec = SupervisorSpec("root", tuple(children), backoff=Backoff(4, 1, 4, 0))
    async with running_tree(spec) as tree:
        for child in children:
            tree.ref(child).cast(Do(crash))
        for child in children:
            assert await tree.ref(child).call(Do(incarnation)) == 2
        assert trio.current_time() == pytest.approx(4)


async def test_a_tree_can_be_stopped_while_a_child_waits_out_its_backoff(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for strategy in Strategy:
        child = probe("a")
        spec = SupervisorSpec("root", (child,), strategy=strategy, backoff=Backoff(first=5))
        began = trio.current_time()
        async with running_tree(spec) as tree:
            tree.ref(child).cast(Do(crash))
            await trio.sleep(0.1)
            assert tree.ref(child).status is State.DOWN
        assert trio.current_time() - began < 1
        assert tree.ref(child).stopped


async def test_keyboard_interrupt_in_a_handler_passes_through_and_the_tree_stops_in_order() -> None:
    diary = Diary()
    a, b = probe("a", diary), probe("b", diary)

    async def interrupt(_: Probe) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        async with running_tree(SupervisorSpec("root", (a, b))) as tree:
            tree.ref(a).cast(Do(interrupt))
            await trio.sleep_forever()
    assert diary.lines == ["a started", "b started", "a stopping", "b stopping"]


async def test_cancellation_from_outside_stops_the_tree_in_order_and_finishes_what_is_in_hand(
    autojump_clock: trio.testing.MockClock,
) -> None:
    diary = Diary()
    children = tuple(probe(name, diary) for name in "abcd")

    async def take_a_second(actor: Probe) -> None:
        await trio.sleep(1)
        actor.diary.write(f"{actor.name} finished")

    with trio.CancelScope() as scope:
        async with running_tree(SupervisorSpec("root", children)) as tree:
            for child in children:
                tree.ref(child).cast(Do(take_a_second))
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert {f"{name} finished" for name in "abcd"} <= set(diary.lines)
    assert [line for line in diary.lines if "stopping" in line] == [
        f"{name} stopping" for name in "dcba"
    ]


async def test_stopping_is_not_cut_short_when_the_actor_had_to_be_cancelled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    diary = Diary()

    async def clean() -> None:
        await trio.sleep(1)
        diary.write("cleaned")

    child = ChildSpec("a", lambda: Probe("a", diary, on_stop=clean), shutdown=3)
    async with running_tree(SupervisorSpec("root", (child,))) as tree:
        tree.ref(child).cast(Do(sleeping(inf)))
        await trio.testing.wait_all_tasks_blocked()
    assert diary.lines == ["a started", "a stopping", "cleaned"]
    assert trio.current_time() == pytest.approx(4)


async def test_an_exception_of_the_body_comes_out_as_it_is() -> None:
    with pytest.raises(Boom):
        async with running_tree(SupervisorSpec("root", (probe("a"),))):
            raise Boom


async def test_a_crash_while_being_cancelled_is_reported_and_the_cancellation_goes_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def crash_when_cancelled(_: Probe) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise Boom

    child, trace = probe("a", shutdown=1), Trace()
    async with running_tree(SupervisorSpec("root", (child,)), trace=trace) as tree:
        tree.ref(child).cast(Do(crash_when_cancelled))
        await trio.testing.wait_all_tasks_blocked()
    assert trace.counts[Kind.CRASH] == 1
    assert tree.ref(child).stopped


def test_siblings_must_have_different_names_that_fit_into_a_path() -> None:
    with pytest.raises(ValueError, match="two children named a"):
        SupervisorSpec("root", (probe("a"), probe("a")))
    with pytest.raises(ValueError, match="without '/'"):
        probe("a/b")


async def test_a_child_that_ended_for_good_stays_so_when_its_supervisor_is_restarted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    a, done = probe("a"), probe("done", restart=Restart.TRANSIENT)
    inner = SupervisorSpec("inner", (a, done), intensity=Intensity(0))
    async with running_tree(SupervisorSpec("root", (inner,))) as tree:
        tree.ref(done).cast(Do(stop))
        await tree.ref(done).wait_stopped()
        await crash_and_settle(tree, a)
        assert tree.ref(done).stopped
