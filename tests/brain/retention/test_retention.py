"""What has had its time goes, in bites, and its space is given back; what is open stays."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest
import trio.testing

from september.actors.testing import running
from september.brain.memory import working
from september.brain.retention import sweeps
from september.brain.retention.retention import GetSwept, Retention, Sweeper
from september.brain.retention.sweeps import BITE, Lifetimes
from september.brain.store.connection import Connection
from september.brain.store.database import Database

HOUR = 3_600_000
LIVES = Lifetimes(events_s=3 * 3600, waiting_events_s=72 * 3600)
NOW = 100 * 24 * HOUR


class Brain(Protocol):
    path: Path

    @property
    def database(self) -> Database: ...


def add_turn(
    connection: Connection, name: str, status: str, ages_h: list[float], *, asks: bool = False
) -> None:
    """A turn with an event of each age, in hours before NOW."""
    connection.execute(
        "INSERT OR IGNORE INTO conversations (task_id, agent, title, created_at, updated_at)"
        " VALUES ('task', 'a', 't', 0, 0)"
    )
    connection.execute(
        "INSERT INTO turns (turn_id, task_id, status, agent, request, trace_id, created_at)"
        " VALUES (?, 'task', ?, 'a', '{}', '', 0)",
        (name, status),
    )
    connection.executemany(
        "INSERT INTO channel_events (task_id, turn_id, type, data, created_at)"
        " VALUES ('task', ?, 'text_delta', ?, ?)",
        [(name, "x" * 500, NOW - int(age * HOUR)) for age in ages_h],
    )
    if asks:
        connection.execute(
            "INSERT INTO hitl_requests (request_id, task_id, turn_id, kind, question, status,"
            " created_at, expires_at) VALUES (?, 'task', ?, 'question', 'q', 'pending', 0, 0)",
            (f"hitl-{name}", name),
        )


async def left(brain: Brain) -> Counter[str]:
    found = await brain.database.read(
        lambda c: c.execute("SELECT turn_id FROM channel_events").fetchall()
    )
    return Counter(turn for (turn,) in found)


def sweeper(brain: Brain) -> Sweeper:
    return Sweeper(brain.database, LIVES, lambda: NOW)


@pytest.mark.parametrize(
    ("status", "asks", "stay"),
    [
        ("completed", False, [1.0, 2.9]),
        ("errored", False, [1.0, 2.9]),
        ("cancelled", False, [1.0, 2.9]),
        ("running", False, [1.0, 2.9, 3.1, 71.0, 73.0]),
        ("queued", False, [1.0, 2.9, 3.1, 71.0, 73.0]),
        ("waiting", True, [1.0, 2.9, 3.1, 71.0]),
    ],
)
async def test_events_live_as_long_as_their_turn_and_its_time(
    brain: Brain, status: str, asks: bool, stay: list[float]
) -> None:
    ages = [1.0, 2.9, 3.1, 71.0, 73.0]
    add = partial(add_turn, name="turn", status=status, ages_h=ages, asks=asks)
    await brain.database.write(add)
    await sweeper(brain).round()
    found = await brain.database.read(
        lambda c: c.execute("SELECT created_at FROM channel_events").fetchall()
    )
    assert sorted(at for (at,) in found) == sorted(NOW - int(age * HOUR) for age in stay)


async def test_expired_notes_go_and_the_ids_of_events_are_never_used_again(brain: Brain) -> None:
    for key, expires in (("old", NOW), ("new", NOW + 1)):
        note = partial(working.note, task_id="t", key=key, value="v", now=0, expires_at=expires)
        await brain.database.write(note)
    await brain.database.write(
        partial(add_turn, name="turn", status="completed", ages_h=[9.0] * 10)
    )
    await sweeper(brain).round()
    assert await left(brain) == {}
    entries = await brain.database.read(partial(working.entries, task_id="t", now=NOW - 1))
    assert entries == (("new", "v"),)
    await brain.database.write(partial(add_turn, name="next", status="completed", ages_h=[0.0]))
    ids = await brain.database.read(lambda c: c.execute("SELECT id FROM channel_events").fetchall())
    assert ids == [(11,)]


async def test_the_space_is_given_back_in_bites_and_the_file_stays_whole(brain: Brain) -> None:
    count = 40 * BITE
    add = partial(add_turn, name="turn", status="completed", ages_h=[9.0] * count)
    await brain.database.write(add)
    work = sweeper(brain)
    await work.round()
    swept = work.swept
    assert swept.rows == {"events": count}
    assert swept.pages > 0
    free = await brain.database.read(sweeps.free_pages)
    assert free <= 1024
    whole = await brain.database.read(lambda c: c.execute("PRAGMA integrity_check").fetchall())
    assert whole == [("ok",)]


async def test_retention_sweeps_when_it_starts_and_says_what_it_did(brain: Brain) -> None:
    await brain.database.write(partial(add_turn, name="turn", status="completed", ages_h=[9.0] * 3))
    async with running(Retention(brain.database, LIVES, lambda: NOW, every_s=0.01)) as ref:
        swept = await ref.call(GetSwept())
        while swept.rounds < 2:
            await trio.testing.wait_all_tasks_blocked()  # else we keep the reading thread waiting
            swept = await ref.call(GetSwept())
        assert swept.rows == {"events": 3}
    assert await left(brain) == {}
