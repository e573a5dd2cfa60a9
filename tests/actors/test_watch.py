"""Watching: who hears when an actor goes down."""

import trio
import trio.testing

from september.actors import (
    DynamicSpec,
    Kind,
    Restart,
    SupervisorSpec,
    Trace,
    running_tree,
)

from .probe import Boom, Diary, Do, Fell, Note, Probe, ProbeMessage, crash, probe, stop


async def test_a_watcher_hears_a_crash_and_that_another_incarnation_follows(
    autojump_clock: trio.testing.MockClock,
) -> None:
    diary = Diary()
    watched, watcher = probe("watched"), probe("watcher", diary)
    async with running_tree(SupervisorSpec("root", (watched, watcher))) as tree:
        ref = tree.ref(watched)
        ref.watch(tree.ref(watcher), Fell)
        ref.cast(Do(crash))
        await ref.call(Note("back"))
        await trio.testing.wait_all_tasks_blocked()
        (down,) = diary.downs
        assert down.ref == ref
        assert isinstance(down.reason, Boom)
        assert not down.final


async def test_a_watcher_hears_a_normal_end_without_a_reason() -> None:
    diary = Diary()
    watched, watcher = probe("watched", restart=Restart.TRANSIENT), probe("watcher", diary)
    async with running_tree(SupervisorSpec("root", (watched, watcher))) as tree:
        tree.ref(watched).watch(tree.ref(watcher), Fell)
        tree.ref(watched).cast(Do(stop))
        await trio.testing.wait_all_tasks_blocked()
        (down,) = diary.downs
        assert down.reason is None
        assert down.final


async def test_a_down_overtakes_a_full_mailbox() -> None:
    diary = Diary()
    watched = probe("watched", restart=Restart.TEMPORARY)
    watcher = probe("watcher", diary, mailbox=1)
    release = trio.Event()

    async def wait(_: Probe) -> None:
        await release.wait()

    async def note_downs(actor: Probe) -> None:
        diary.write(f"{len(diary.downs)} downs")

    async with running_tree(SupervisorSpec("root", (watched, watcher))) as tree:
        ref = tree.ref(watcher)
        tree.ref(watched).watch(ref, Fell)
        ref.cast(Do(wait))
        await trio.testing.wait_all_tasks_blocked()
        ref.cast(Do(note_downs))
        tree.ref(watched).cast(Do(crash))
        await trio.testing.wait_all_tasks_blocked()
        release.set()
        await ref.call(Note("end"))
    assert "1 downs" in diary.lines


async def test_watching_an_actor_that_is_gone_is_answered_at_once() -> None:
    diary = Diary()
    watched, watcher = probe("watched", restart=Restart.TEMPORARY), probe("watcher", diary)
    async with running_tree(SupervisorSpec("root", (watched, watcher))) as tree:
        ref = tree.ref(watched)
        ref.cast(Do(crash))
        await ref.wait_stopped()
        ref.watch(tree.ref(watcher), Fell)
        await tree.ref(watcher).call(Note("end"))
        assert isinstance(diary.downs[0].reason, Boom)


async def test_a_cancelled_watch_hears_nothing() -> None:
    diary = Diary()
    watched, watcher = probe("watched", restart=Restart.TEMPORARY), probe("watcher", diary)
    async with running_tree(SupervisorSpec("root", (watched, watcher))) as tree:
        watch = tree.ref(watched).watch(tree.ref(watcher), Fell)
        watch.cancel()
        watch.cancel()
        tree.ref(watched).cast(Do(crash))
        await tree.ref(watched).wait_stopped()
        await tree.ref(watcher).call(Note("end"))
    assert diary.downs == []


async def test_watches_end_with_either_side_and_leave_nothing_behind() -> None:
    spec = DynamicSpec[ProbeMessage]("many")
    keeper = probe("keeper")
    async with running_tree(SupervisorSpec("root", (keeper, spec))) as tree:
        many, keeper_ref = tree.ref(spec), tree.ref(keeper)
        for number in range(20):
            ref = await many.start(str(number), Probe)
            ref.watch(keeper_ref, Fell)
            keeper_ref.watch(ref, Fell)
        for key in many.keys():
            await many.stop(key)
        assert keeper_ref.cell.listeners == []


async def test_non_actors_can_wait_for_the_end() -> None:
    child = probe("a", restart=Restart.TEMPORARY)
    async with running_tree(SupervisorSpec("root", (child,))) as tree:
        ref = tree.ref(child)
        async with trio.open_nursery() as nursery:
            downs: list[object] = []

            async def wait() -> None:
                downs.append((await ref.wait_stopped()).reason)

            nursery.start_soon(wait)
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            ref.cast(Do(crash))
        assert [type(reason) for reason in downs] == [Boom, Boom]
        assert ref.cell.listeners == []


async def test_a_cast_to_a_stopped_actor_is_a_dead_letter_traced_and_counted() -> None:
    trace = Trace()
    child = probe("a", restart=Restart.TEMPORARY)
    async with running_tree(SupervisorSpec("root", (child,)), trace=trace) as tree:
        ref = tree.ref(child)
        ref.cast(Do(crash))
        await ref.wait_stopped()
        ref.cast(Note("nobody home"))
        (record,) = [one for one in trace.recent() if one.kind is Kind.DEAD_LETTER]
        assert record.message == Note("nobody home")
        assert record.path == "root/a"
        assert record.detail == "stopped"
    assert trace.counts[Kind.DEAD_LETTER] == 1
