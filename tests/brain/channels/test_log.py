"""The event log: durable first, one sequence, every event exactly once."""

from functools import partial

import pytest
import trio
import trio.testing

from september.brain.channels import log as log_module
from september.brain.channels.channel import HIGH_WATER, Channel
from september.brain.channels.events import TextDelta, ThreadLifecycle
from september.brain.channels.frame import Frame
from september.brain.channels.log import Append, Subscribe, append
from september.brain.channels.replay import Following
from september.brain.store.connection import Connection

from ..conftest import Brain


def closed(turn: str) -> ThreadLifecycle:
    return ThreadLifecycle(phase="completed", task_id="t", turn_id=turn, timestamp="now")


def texts(count: int) -> tuple[TextDelta, ...]:
    return tuple(TextDelta(text=str(number)) for number in range(count))


def stored_ids(connection: Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT id FROM channel_events ORDER BY id")]


async def test_an_appended_event_is_in_the_brain_before_append_returns(brain: Brain) -> None:
    last = await append(brain.log, "t", "turn-1", texts(3))
    assert await brain.database.read(stored_ids) == [1, 2, 3]
    assert last == 3


async def test_a_follower_sees_only_what_is_in_the_brain_already(brain: Brain) -> None:
    subscription = await brain.log.call(Subscribe("t", 0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(append, brain.log, "t", "turn-1", texts(5))
        frames = await subscription.live.receive()
        ids = await brain.database.read(stored_ids)
        assert [frame.id for frame in frames] == ids
    subscription.live.close()


async def test_ids_are_one_sequence_over_all_tasks_and_go_on_after_a_restart(brain: Brain) -> None:
    async with trio.open_nursery() as nursery:
        for task in range(20):
            nursery.start_soon(append, brain.log, f"t{task}", f"turn{task}", texts(7))
    assert await brain.database.read(stored_ids) == list(range(1, 141))

    def forget(connection: Connection) -> None:
        connection.execute("DELETE FROM channel_events")

    await brain.database.write(forget)
    with pytest.raises(Exception, match="broken on purpose"):
        await brain.log.call(Append("t", "turn", texts(1), _broken))
    assert await append(brain.log, "t", "turn", texts(1)) == 141, "no id is used twice"


def _broken(connection: Connection) -> None:
    raise RuntimeError("broken on purpose")


async def test_what_comes_with_events_is_stored_with_them_or_not_at_all(brain: Brain) -> None:
    def also(connection: Connection) -> None:
        connection.execute("INSERT INTO brain_meta VALUES ('k', 'v')")
        raise RuntimeError("broken on purpose")

    with pytest.raises(Exception, match="broken on purpose"):
        await brain.log.call(Append("t", "turn", texts(1), also))
    assert await brain.database.read(stored_ids) == []
    rows = await brain.database.read(lambda c: c.execute("SELECT * FROM brain_meta").fetchall())
    assert rows == []


async def _all(brain: Brain, turn: str, after: int) -> list[Frame]:
    with Following(brain.log, brain.database, task_id="t", after=after, turn=turn) as following:
        return [frame async for frames in following for frame in frames]


async def test_a_turn_can_be_followed_from_every_id_without_gap_or_repeat(brain: Brain) -> None:
    await append(brain.log, "t", "turn-1", (*texts(30), closed("turn-1")))
    for cut in range(31):
        frames = await _all(brain, "turn-1", cut)
        assert [frame.id for frame in frames] == list(range(cut + 1, 32))


async def test_following_from_the_brain_and_from_memory_gives_the_same_bytes(
    brain: Brain, monkeypatch: pytest.MonkeyPatch
) -> None:
    await append(brain.log, "t", "turn-1", (*texts(30), closed("turn-1")))
    live = await _all(brain, "turn-1", 0)
    with Following(brain.log, brain.database, task_id="t", after=0) as following:
        pages = [frame async for page in following for frame in page]
    assert [frame.wire for frame in live] == [frame.wire for frame in pages]
    assert live == pages


def follow(brain: Brain) -> Following:
    return Following(brain.log, brain.database, task_id="t", after=0, turn="turn-1")


async def test_a_slow_follower_is_cut_off_and_still_gets_everything(
    brain: Brain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "SUBSCRIBER_BATCHES", 2)
    monkeypatch.setattr(log_module, "RECENT_FRAMES", 4)
    seen: list[int] = []
    slow = trio.Event()

    async def read() -> None:
        with follow(brain) as following:
            async for frames in following:
                seen.extend(frame.id for frame in frames)
                await slow.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for _ in range(50):
            await append(brain.log, "t", "turn-1", texts(3))
        await append(brain.log, "t", "turn-1", (closed("turn-1"),))
        slow.set()
    assert seen == list(range(1, 152))


async def test_a_crash_of_the_log_costs_a_follower_nothing(brain: Brain) -> None:
    seen: list[int] = []
    started = trio.Event()

    async def read() -> None:
        with follow(brain) as following:
            async for frames in following:
                seen.extend(frame.id for frame in frames)
                started.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await append(brain.log, "t", "turn-1", texts(3))
        await started.wait()
        with pytest.raises(Exception, match="broken on purpose"):
            await brain.log.call(Append("t", "turn-1", texts(1), _broken))
        await append(brain.log, "t", "turn-1", (closed("turn-1"),))
    assert seen == [1, 2, 3, 4]


async def test_replay_of_all_tasks_ends_when_the_open_turns_have_closed(brain: Brain) -> None:
    await append(brain.log, "a", "turn-a", texts(2))
    seen: list[int] = []

    async def read() -> None:
        both = frozenset({"turn-a", "turn-b"})
        with Following(brain.log, brain.database, task_id=None, after=0, until=both) as following:
            async for frames in following:
                seen.extend(frame.id for frame in frames)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await append(brain.log, "b", "turn-b", (closed("turn-b"),))
        await append(brain.log, "a", "turn-a", (closed("turn-a"),))
    assert seen == [1, 2, 3, 4]


async def test_a_channel_keeps_the_order_and_commits_what_was_emitted_before(brain: Brain) -> None:
    channel = Channel(brain.log, "t", "turn-1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run)
        for event in texts(100):
            await channel.emit(event)
        note = partial(_note, value="with the last")
        await channel.commit(closed("turn-1"), also=note)
        nursery.cancel_scope.cancel()
    rows = await brain.database.read(
        lambda c: c.execute("SELECT type, data FROM channel_events ORDER BY id").fetchall()
    )
    assert [row[1] for row in rows[:100]] == [f'{{"text":"{number}"}}' for number in range(100)]
    assert rows[100][0] == "thread_lifecycle"
    assert len(rows) == 101


def _note(connection: Connection, value: str) -> None:
    connection.execute("INSERT INTO brain_meta VALUES ('note', ?)", (value,))


async def test_what_is_emitted_after_a_commit_is_sent_without_another(brain: Brain) -> None:
    channel = Channel(brain.log, "t", "turn-1")
    subscription = await brain.log.call(Subscribe("t", 0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run)
        for round_ in range(3):
            await trio.testing.wait_all_tasks_blocked(0.02)
            await channel.commit(TextDelta(text=f"commit {round_}"))
            await trio.testing.wait_all_tasks_blocked(0.02)
            await channel.emit(TextDelta(text=f"emit {round_}"))
            with trio.fail_after(2):
                (first,) = await subscription.live.receive()
                (second,) = await subscription.live.receive()
            assert b"commit" in first.wire
            assert b"emit" in second.wire
        nursery.cancel_scope.cancel()
    subscription.live.close()


async def test_a_turn_that_outruns_the_log_waits_and_then_goes_on(brain: Brain) -> None:
    channel = Channel(brain.log, "t", "turn-1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run)
        await channel.commit(TextDelta(text="first"))
        with trio.fail_after(10):
            for event in texts(3 * HIGH_WATER):
                await channel.emit(event)
            await channel.commit(closed("turn-1"))
        nursery.cancel_scope.cancel()
    assert len(await brain.database.read(stored_ids)) == 3 * HIGH_WATER + 2
