"""A turn's channel: what is committed together is in the brain together."""

import threading
from functools import partial

import trio
from trio.testing import wait_all_tasks_blocked

from september.brain.channels.channel import Channel
from september.brain.channels.events import TextDelta, ThreadLifecycle
from september.brain.store.connection import Connection

from ..conftest import Brain

CLOSED = ThreadLifecycle(phase="completed", task_id="t", turn_id="turn", timestamp="now")


def hold(gate: threading.Event, connection: Connection) -> None:
    gate.wait(10)


def note_closed(found: list[int], connection: Connection) -> None:
    rows = connection.execute("SELECT 1 FROM channel_events WHERE type = 'thread_lifecycle'")
    found.append(len(list(rows)))


async def test_committed_events_never_precede_the_work_they_were_committed_with(
    brain: Brain,
) -> None:
    channel, gate, found = Channel(brain.log, "t", "turn"), threading.Event(), list[int]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run)
        async with trio.open_nursery() as commits:
            commits.start_soon(partial(channel.commit, also=partial(hold, gate)))
            await wait_all_tasks_blocked(0.05)
            await channel.emit(TextDelta(text="before"))  # the pump is first in line for the lock
            await wait_all_tasks_blocked(0.05)
            commits.start_soon(partial(channel.commit, CLOSED, also=partial(note_closed, found)))
            await wait_all_tasks_blocked(0.05)
            gate.set()
        nursery.cancel_scope.cancel()
    assert found == [0]
