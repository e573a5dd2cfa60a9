"""The mailbox: bounded, with backpressure, overflow policies and an urgent lane."""

import pytest
import trio
import trio.testing

from september.actors import (
    ActorRef,
    Kind,
    MailboxFull,
    Overflow,
    SupervisorSpec,
    Trace,
    running_tree,
)

from .probe import Diary, Do, Note, Press, Probe, ProbeMessage, nothing, probe


async def occupy(ref: ActorRef[ProbeMessage], nursery: trio.Nursery) -> trio.Event:
    """Keep the actor busy until the event that is returned is set."""
    release = trio.Event()

    async def wait(_: Probe) -> None:
        await release.wait()

    nursery.start_soon(ref.call, Do(wait))
    await trio.testing.wait_all_tasks_blocked()
    return release


async def test_callers_wait_for_room_in_their_order_and_the_mailbox_stays_bounded() -> None:
    diary = Diary()
    child = probe("a", diary, mailbox=4)
    async with running_tree(SupervisorSpec("root", (child,))) as tree:
        ref = tree.ref(child)
        async with trio.open_nursery() as nursery:
            release = await occupy(ref, nursery)
            for number in range(20):
                nursery.start_soon(ref.call, Note(str(number)))
                await trio.testing.wait_all_tasks_blocked()
            assert ref.cell.mailbox.in_line == 16
            assert ref.cell.mailbox.high_water == 4
            release.set()
    assert diary.lines[1:-1] == [str(number) for number in range(20)]


async def test_a_send_waits_for_room_but_not_for_the_handling() -> None:
    diary = Diary()
    child = probe("a", diary, mailbox=2)
    async with running_tree(SupervisorSpec("root", (child,))) as tree:
        ref = tree.ref(child)
        async with trio.open_nursery() as nursery:
            release = await occupy(ref, nursery)
            await ref.send(Note("1"))
            await ref.send(Note("2"))
            with trio.move_on_after(0.01) as scope:
                await ref.send(Note("withdrawn"))
            assert scope.cancelled_caught
            nursery.start_soon(ref.send, Note("3"))
            await trio.testing.wait_all_tasks_blocked()
            release.set()
    assert diary.lines[1:-1] == ["1", "2", "3"]


async def test_overflow_wait_lets_casts_stand_in_line_in_order_and_the_line_is_bounded() -> None:
    diary, trace = Diary(), Trace()
    child = probe("a", diary, mailbox=3, overflow=Overflow.WAIT)
    async with running_tree(SupervisorSpec("root", (child,)), trace=trace) as tree:
        ref = tree.ref(child)
        async with trio.open_nursery() as nursery:
            release = await occupy(ref, nursery)
            for number in range(6):
                ref.cast(Note(str(number)))
            with pytest.raises(MailboxFull):
                ref.cast(Note("too many"))
            release.set()
        await ref.call(Note("end"))
    assert diary.lines[1:-1] == [*map(str, range(6)), "end"]
    assert trace.counts[Kind.DEAD_LETTER] == 1


async def test_overflow_drop_oldest_loses_the_oldest_cast_and_never_a_call() -> None:
    diary, trace = Diary(), Trace()
    child = probe("a", diary, mailbox=3, overflow=Overflow.DROP_OLDEST)
    async with running_tree(SupervisorSpec("root", (child,)), trace=trace) as tree:
        ref = tree.ref(child)
        async with trio.open_nursery() as nursery:
            release = await occupy(ref, nursery)
            nursery.start_soon(ref.call, Note("call"))
            await trio.testing.wait_all_tasks_blocked()
            for number in range(5):
                ref.cast(Note(str(number)))
            release.set()
    assert diary.lines[1:-1] == ["call", "3", "4"]
    assert trace.counts[Kind.DEAD_LETTER] == 3


async def test_drop_oldest_loses_the_new_cast_when_only_calls_wait() -> None:
    diary = Diary()
    child = probe("a", diary, mailbox=1, overflow=Overflow.DROP_OLDEST)
    async with running_tree(SupervisorSpec("root", (child,))) as tree:
        ref = tree.ref(child)
        async with trio.open_nursery() as nursery:
            release = await occupy(ref, nursery)
            nursery.start_soon(ref.call, Note("call"))
            await trio.testing.wait_all_tasks_blocked()
            ref.cast(Note("lost"))
            release.set()
    assert diary.lines[1:-1] == ["call"]


async def test_a_call_in_line_takes_the_room_that_a_dropped_cast_leaves() -> None:
    diary = Diary()
    child = probe("a", diary, mailbox=2, overflow=Overflow.DROP_OLDEST)
    async with running_tree(SupervisorSpec("root", (child,))) as tree:
        ref = tree.ref(child)
        async with trio.open_nursery() as nursery:
            release = await occupy(ref, nursery)
            ref.cast(Note("1"))
            ref.cast(Note("2"))
            nursery.start_soon(ref.call, Note("call"))
            await trio.testing.wait_all_tasks_blocked()
            ref.cast(Note("3"))
            assert ref.cell.mailbox.in_line == 0
            release.set()
    assert diary.lines[1:-1] == ["call", "3"]


async def test_overflow_fail_raises_mailbox_full_and_leaves_the_mailbox_as_it_was() -> None:
    diary = Diary()
    child = probe("a", diary, mailbox=2, overflow=Overflow.FAIL)
    async with running_tree(SupervisorSpec("root", (child,))) as tree:
        ref = tree.ref(child)
        async with trio.open_nursery() as nursery:
            release = await occupy(ref, nursery)
            ref.cast(Note("1"))
            ref.cast(Note("2"))
            with pytest.raises(MailboxFull, match=r"root/a is full \(2 messages\)"):
                ref.cast(Note("3"))
            release.set()
        await ref.call(Note("end"))
    assert diary.lines[1:-1] == ["1", "2", "end"]


async def test_urgent_messages_overtake_and_no_full_mailbox_holds_them_up() -> None:
    diary = Diary()
    child = probe("a", diary, mailbox=2, overflow=Overflow.FAIL)
    async with running_tree(SupervisorSpec("root", (child,))) as tree:
        ref = tree.ref(child)
        async with trio.open_nursery() as nursery:
            release = await occupy(ref, nursery)
            for message in (Note("1"), Note("2"), Press("u1"), Press("u2")):
                ref.cast(message)
            release.set()
        await ref.call(Note("end"))
    assert diary.lines[1:-1] == ["u1", "u2", "1", "2", "end"]


async def test_the_urgent_lane_is_bounded_for_casts_too() -> None:
    child = probe("a", mailbox=2)
    async with running_tree(SupervisorSpec("root", (child,))) as tree:
        ref = tree.ref(child)
        async with trio.open_nursery() as nursery:
            release = await occupy(ref, nursery)
            ref.cast(Press("1"))
            ref.cast(Press("2"))
            with pytest.raises(MailboxFull):
                ref.cast(Press("3"))
            release.set()


async def test_a_spec_can_declare_more_urgent_types() -> None:
    diary = Diary()
    child = probe("a", diary, urgent=(Note,))
    async with running_tree(SupervisorSpec("root", (child,))) as tree:
        ref = tree.ref(child)
        async with trio.open_nursery() as nursery:
            release = await occupy(ref, nursery)

            async def late(actor: Probe) -> None:
                actor.diary.write("ordinary")

            ref.cast(Do(late))
            ref.cast(Note("urgent"))
            release.set()
        await ref.call(Do(nothing))
    assert diary.lines[1:3] == ["urgent", "ordinary"]


async def test_a_stop_is_not_held_up_by_a_full_mailbox() -> None:
    diary = Diary()
    child = probe("a", diary, mailbox=2)
    async with trio.open_nursery() as nursery:
        async with running_tree(SupervisorSpec("root", (child,))) as tree:
            ref = tree.ref(child)
            release = await occupy(ref, nursery)
            ref.cast(Note("never read"))
            ref.cast(Note("never read"))
            nursery.start_soon(_release_when_stopping, release)
    assert diary.lines == ["a started", "a stopping"]


async def _release_when_stopping(release: trio.Event) -> None:
    await trio.testing.wait_all_tasks_blocked()
    release.set()


async def test_a_busy_mailbox_does_not_starve_other_tasks() -> None:
    turns = 0
    child = probe("a", mailbox=5000)

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with running_tree(SupervisorSpec("root", (child,))) as tree:
        ref = tree.ref(child)
        for _ in range(2000):
            ref.cast(Note("x"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count_turns)
            await ref.call(Note("end"))
            nursery.cancel_scope.cancel()
    assert turns >= 2000 // 64
