"""The dynamic supervisor: children by key."""

from functools import partial

import pytest
import trio
import trio.testing

from september.actors import (
    ActorCrashed,
    ActorStopped,
    AlreadyStarted,
    Backoff,
    ChildSpec,
    DeadlockDetected,
    DynamicSpec,
    Intensity,
    Restart,
    RestartsExhausted,
    StartFailed,
    SupervisorSpec,
    running_tree,
)
from september.actors.testing import run_seeded

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
)


def dynamic(**options: object) -> DynamicSpec[ProbeMessage]:
    return DynamicSpec("many", **options)  # type: ignore[arg-type]


async def test_children_are_started_found_and_stopped_by_key() -> None:
    diary = Diary()
    spec = dynamic()
    async with running_tree(SupervisorSpec("root", (spec,))) as tree:
        many = tree.ref(spec)
        ref = await many.start("x", lambda: Probe("x", diary))
        assert ref.path == "root/many/x"
        assert many.get("x") == ref
        assert many.get("y") is None
        await many.start("y", lambda: Probe("y", diary))
        assert many.keys() == ("x", "y")
        await many.stop("x")
        await many.stop("x")
        assert many.keys() == ("y",)
        with pytest.raises(ActorStopped):
            await ref.call(Note("gone"))
    assert diary.lines == ["x started", "y started", "x stopping", "y stopping"]


async def test_a_key_is_taken_until_its_child_is_gone_and_free_afterwards() -> None:
    spec = dynamic()
    async with running_tree(SupervisorSpec("root", (spec,))) as tree:
        many = tree.ref(spec)
        first = await many.start("x", Probe)
        with pytest.raises(AlreadyStarted):
            await many.start("x", Probe)
        await many.stop("x")
        second = await many.start("x", Probe)
        assert first.stopped
        assert not second.stopped


async def test_ensure_shares_one_start_between_all_who_ask(
    autojump_clock: trio.testing.MockClock,
) -> None:
    spec, diary = dynamic(), Diary()
    refs: set[str] = set()

    async def ensure() -> None:
        ref = await many.ensure("x", lambda: Probe("x", diary, on_start=partial(trio.sleep, 5)))
        refs.add(repr(ref))

    async with running_tree(SupervisorSpec("root", (spec,))) as tree:
        many = tree.ref(spec)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ensure)
    assert len(refs) == 1
    assert diary.lines.count("x started") == 1


async def test_a_stop_during_a_start_that_then_fails_is_no_harm(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def fail_slowly() -> None:
        await trio.sleep(1)
        raise Boom

    async def start() -> None:
        with pytest.raises(StartFailed):
            await many.start("x", lambda: Probe(on_start=fail_slowly))

    spec = dynamic()
    async with running_tree(SupervisorSpec("root", (spec,))) as tree:
        many = tree.ref(spec)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(start)
            await trio.testing.wait_all_tasks_blocked()
            await many.stop("x")
        assert many.keys() == ()


async def test_ensure_waits_for_a_leaving_child_and_starts_a_new_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    spec = dynamic()
    async with running_tree(SupervisorSpec("root", (spec,))) as tree:
        many = tree.ref(spec)
        old = await many.start("x", lambda: Probe(on_stop=partial(trio.sleep, 3)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(many.stop, "x")
            await trio.testing.wait_all_tasks_blocked()
            new = await many.ensure("x", Probe)
        assert old.stopped
        await new.call(Note("served"))


async def test_a_failed_start_is_heard_by_the_starter_and_frees_the_key() -> None:
    async def fail() -> None:
        raise Boom

    spec = dynamic(restart=Restart.PERMANENT)
    async with running_tree(SupervisorSpec("root", (spec,))) as tree:
        many = tree.ref(spec)
        with pytest.raises(StartFailed) as failure:
            await many.start("x", lambda: Probe(on_start=fail))
        assert isinstance(failure.value.__cause__, Boom)
        assert many.keys() == ()
        await many.start("x", Probe)


async def test_a_temporary_child_that_crashes_is_gone() -> None:
    spec = dynamic()
    async with running_tree(SupervisorSpec("root", (spec,))) as tree:
        many = tree.ref(spec)
        ref = await many.start("x", Probe)
        with pytest.raises(ActorCrashed):
            await ref.call(Do(crash))
        assert isinstance((await ref.wait_stopped()).reason, Boom)
        assert many.keys() == ()


async def test_a_permanent_child_is_restarted_under_the_same_ref(
    autojump_clock: trio.testing.MockClock,
) -> None:
    spec = dynamic(restart=Restart.PERMANENT)
    async with running_tree(SupervisorSpec("root", (spec,))) as tree:
        ref = await tree.ref(spec).start("x", Probe)
        ref.cast(Do(crash))
        assert await ref.call(Do(incarnation)) == 2


async def test_a_child_spec_overrides_what_the_dynamic_spec_says(
    autojump_clock: trio.testing.MockClock,
) -> None:
    spec = dynamic()
    async with running_tree(SupervisorSpec("root", (spec,))) as tree:
        ref = await tree.ref(spec).start("x", ChildSpec("any", Probe, restart=Restart.TRANSIENT))
        assert ref.path == "root/many/x"
        ref.cast(Do(crash))
        assert await ref.call(Do(incarnation)) == 2


async def test_a_key_that_uses_up_its_restarts_ends_alone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    spec = dynamic(restart=Restart.PERMANENT, intensity=Intensity(2, 60))
    async with running_tree(SupervisorSpec("root", (spec,))) as tree:
        many = tree.ref(spec)
        bad, good = await many.start("bad", Probe), await many.start("good", Probe)
        for _ in range(3):
            bad.cast(Do(crash))
        down = await bad.wait_stopped()
        assert isinstance(down.reason, RestartsExhausted)
        assert isinstance(down.reason.__cause__, Boom)
        assert many.keys() == ("good",)
        await good.call(Note("still here"))


async def test_a_child_waiting_out_its_backoff_can_be_stopped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    spec = dynamic(restart=Restart.PERMANENT, backoff=Backoff(first=30))
    async with running_tree(SupervisorSpec("root", (spec,))) as tree:
        many = tree.ref(spec)
        ref = await many.start("x", Probe)
        ref.cast(Do(crash))
        await trio.sleep(1)
        await many.stop("x")
        assert trio.current_time() == pytest.approx(1)
        assert ref.stopped


async def test_children_are_stopped_at_the_same_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    spec = dynamic()
    async with running_tree(SupervisorSpec("root", (spec,))) as tree:
        for number in range(10):
            await tree.ref(spec).start(str(number), lambda: Probe(on_stop=partial(trio.sleep, 3)))
    assert trio.current_time() == pytest.approx(3)


async def test_a_starter_that_is_cancelled_leaves_no_child_behind(
    autojump_clock: trio.testing.MockClock,
) -> None:
    spec = dynamic(shutdown=1.0)
    async with running_tree(SupervisorSpec("root", (spec,))) as tree:
        many = tree.ref(spec)
        with trio.move_on_after(1):
            await many.start("x", lambda: Probe(on_start=trio.sleep_forever))
        await trio.sleep(2)
        assert many.keys() == ()


async def test_an_actor_that_asks_for_its_own_stop_by_key_is_told_of_the_deadlock() -> None:
    spec = dynamic()
    async with running_tree(SupervisorSpec("root", (spec,))) as tree:
        many = tree.ref(spec)
        ref = await many.start("x", Probe)

        async def stop_me(_: Probe) -> None:
            with pytest.raises(DeadlockDetected):
                await many.stop("x")

        await ref.call(Do(stop_me))


async def test_a_start_that_calls_back_to_its_starter_is_a_deadlock() -> None:
    spec, boss = dynamic(), probe("boss")
    async with running_tree(SupervisorSpec("root", (boss, spec))) as tree:
        many, boss_ref = tree.ref(spec), tree.ref(boss)

        async def call_back() -> None:
            await boss_ref.call(Note("hello"))

        async def start_one(_: Probe) -> str:
            with pytest.raises(StartFailed) as failure:
                await many.start("x", lambda: Probe(on_start=call_back))
            assert isinstance(failure.value.__cause__, DeadlockDetected)
            return " ".join(failure.value.__cause__.path)

        path = await boss_ref.call(Do(start_one))
        assert path == "root/many/x root/boss root/many/x"


async def test_a_dynamic_supervisor_that_is_not_running_starts_nothing() -> None:
    spec = dynamic()
    async with running_tree(SupervisorSpec("root", (spec,))) as tree:
        many = tree.ref(spec)
    with pytest.raises(ActorStopped, match="is stopped"):
        await many.start("x", Probe)


@pytest.mark.parametrize("seed", range(40))
def test_a_stop_that_races_with_a_crash_and_its_healing_leaves_no_child(seed: int) -> None:
    spec = dynamic(restart=Restart.PERMANENT, backoff=Backoff(first=0))

    async def race() -> None:
        async with running_tree(SupervisorSpec("root", (spec,))) as tree:
            many = tree.ref(spec)
            for turns in range(12):
                ref = await many.start("x", Probe)
                ref.cast(Do(crash))
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                await many.stop("x")
                await trio.sleep(1)
                assert ref.stopped
                assert many.keys() == ()

    run_seeded(seed, race)


@pytest.mark.parametrize("seed", range(10))
def test_a_stop_at_the_very_end_of_a_backoff_leaves_no_child(seed: int) -> None:
    backoff = Backoff(first=1, jitter=0)
    spec, diary = dynamic(restart=Restart.PERMANENT, backoff=backoff), Diary()

    async def race() -> None:
        async with running_tree(SupervisorSpec("root", (spec,))) as tree:
            many = tree.ref(spec)
            ref = await many.start("x", lambda: Probe("x", diary))
            ref.cast(Do(crash))
            await trio.sleep(1)
            await many.stop("x")
            await trio.sleep(5)
            assert ref.stopped
            assert many.keys() == ()

    run_seeded(seed, race)
    assert diary.lines.count("x started") == diary.lines.count("x stopping")
