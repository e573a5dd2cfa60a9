"""An actor on its own: one task, one message at a time, its hooks, its end."""

import pytest
import trio
import trio.testing

from september.actors import (
    ActorCrashed,
    ActorStopped,
    ChildSpec,
    Restart,
    State,
    SupervisorSpec,
    running_tree,
)
from september.actors.testing import running

from .probe import Boom, Diary, Do, DoLater, Note, Probe, ProbeMessage, crash, stop
from .slots import Admission, Admit, Release, TaskSlots


async def test_the_longest_waiter_takes_a_released_slot() -> None:
    async with running(TaskSlots(limit=1)) as slots:
        assert await slots.call(Admit("a")) == Admission(ahead=0)
        assert await slots.call(Admit("b")) == Admission(ahead=1)
        slots.cast(Release("a"))
        assert await slots.call(Admit("b")) == Admission(ahead=0)


async def test_a_handler_can_be_tested_as_a_plain_function() -> None:
    reply = await TaskSlots(1).handle(Admit("a"))
    assert reply.value == Admission(0)


async def test_messages_of_one_sender_are_handled_in_their_order() -> None:
    actor = Probe()
    async with running(actor) as ref:
        for number in range(200):
            ref.cast(Note(str(number)))
        await ref.call(Note("end"))
    assert actor.diary.lines[1:-1] == [*map(str, range(200)), "end"]


async def test_one_message_is_handled_at_a_time(autojump_clock: trio.testing.MockClock) -> None:
    inside = 0
    most = 0

    async def work(_: Probe) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await trio.sleep(1)
        inside -= 1

    async with running(Probe()) as ref, trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ref.call, Do(work))
    assert most == 1
    assert trio.current_time() >= 5


async def test_started_runs_in_the_actors_task_before_the_first_message() -> None:
    tasks: list[trio.lowlevel.Task] = []

    async def note_task(_: object = None) -> None:
        tasks.append(trio.lowlevel.current_task())

    async with running(Probe(on_start=lambda: note_task())) as ref:
        await ref.call(Do(note_task))
    assert len(tasks) == 2
    assert tasks[0] is tasks[1]


async def test_stopping_runs_at_a_normal_end() -> None:
    actor = Probe()
    async with running(actor):
        pass
    assert actor.diary.lines == ["probe started", "probe stopping"]


async def test_stopping_runs_after_a_crash() -> None:
    actor = Probe()
    with pytest.raises(Boom):
        async with running(actor) as ref:
            ref.cast(Do(crash))
            await trio.sleep_forever()
    assert actor.diary.lines == ["probe started", "probe stopping"]


async def test_stopping_is_shielded_for_the_shutdown_time_and_no_longer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    diary = Diary()

    async def clean() -> None:
        await trio.sleep(2)
        diary.write("cleaned")
        await trio.sleep(60)
        diary.write("never")

    child = ChildSpec("probe", lambda: Probe("probe", diary, on_stop=clean), shutdown=3)
    with trio.CancelScope() as scope:
        async with running_tree(SupervisorSpec("root", (child,))):
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert diary.lines[-1] == "cleaned"
    assert trio.current_time() == pytest.approx(3)


async def test_a_crash_in_stopping_is_reported_not_lost() -> None:
    async def fail() -> None:
        raise Boom

    child = ChildSpec("probe", lambda: Probe(on_stop=fail), restart=Restart.TEMPORARY)
    async with running_tree(SupervisorSpec("root", (child,))) as tree:
        ref = tree.ref(child)
        await ref.call(Do(stop))
        down = await ref.wait_stopped()
    assert isinstance(down.reason, Boom)


async def test_an_actor_that_stops_itself_finishes_the_message_in_hand() -> None:
    child = ChildSpec("probe", Probe, restart=Restart.TRANSIENT)
    async with running_tree(SupervisorSpec("root", (child,))) as tree:
        ref = tree.ref(child)
        await ref.call(Do(stop))
        down = await ref.wait_stopped()
        assert down.reason is None
        assert ref.stopped
        with pytest.raises(ActorStopped):
            await ref.call(Note("too late"))


async def test_long_work_runs_beside_the_inbox(autojump_clock: trio.testing.MockClock) -> None:
    async def sixty_seconds() -> str:
        await trio.sleep(60)
        return "done"

    answers: list[str] = []

    async with running(Probe()) as ref:

        async def ask() -> None:
            answers.append(await ref.call(DoLater(sixty_seconds)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(1)
            await ref.call(Note("meanwhile"), timeout=1)
            assert trio.current_time() < 3
    assert answers == ["done"]


async def test_a_crash_of_long_work_crashes_the_actor_and_its_caller_hears() -> None:
    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise Boom

    with pytest.raises(Boom):
        async with running(Probe()) as ref:
            with pytest.raises(ActorCrashed) as heard:
                await ref.call(DoLater(fail))
            assert isinstance(heard.value.__cause__, Boom)
            await trio.sleep_forever()


async def test_long_work_is_cancelled_when_the_actor_stops() -> None:
    ended: list[str] = []

    async def forever() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("cancelled")

    async with trio.open_nursery() as nursery:
        async with running(Probe()) as ref:

            async def ask() -> None:
                with pytest.raises(ActorStopped):
                    await ref.call(DoLater(forever))
                ended.append("heard")

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
    assert sorted(ended) == ["cancelled", "heard"]


async def test_work_beside_the_inbox_lives_as_long_as_the_actor() -> None:
    ended = trio.Event()

    class Ticking(Probe):
        async def started(self) -> None:
            self.beside(self._tick)

        async def _tick(self) -> None:
            try:
                self.ref.cast(Note("tick"))
                await trio.sleep_forever()
            finally:
                ended.set()

    actor = Ticking()
    async with running(actor):
        await trio.testing.wait_all_tasks_blocked()
        assert actor.diary.lines == ["tick"]
        assert not ended.is_set()
    assert ended.is_set()


async def test_a_handler_that_returns_no_reply_is_a_crash() -> None:
    class Forgetful(Probe):
        async def handle(self, msg: ProbeMessage):  # type: ignore[no-untyped-def]
            await trio.lowlevel.checkpoint()

    with pytest.raises(TypeError, match="not a Reply"):
        async with running(Forgetful()) as ref:
            with pytest.raises(ActorCrashed):
                await ref.call(Note("?"))
            await trio.sleep_forever()


async def test_no_task_is_left_when_the_tree_has_stopped() -> None:
    def tasks() -> int:
        return trio.lowlevel.current_statistics().tasks_living

    before = tasks()
    async with running(Probe()) as ref:
        with trio.move_on_after(0.01):
            await ref.call(DoLater(trio.sleep_forever))
        assert tasks() > before
        assert ref.status is State.RUNNING
    assert tasks() == before
