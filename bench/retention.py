"""How long retention holds up a turn's writes, against one big DELETE and VACUUM.

A brain with `--events` events that have had their time is swept while a probe commits one event
every 5 ms, as a turn does. The peer removes the same rows from a copy of the same file with plain
SQLite: `DELETE`, then `VACUUM`; its writer is held for as long as each of them takes.
"""

import argparse
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median

import trio

from september.actors import ChildSpec, SupervisorSpec, running_tree
from september.brain.clock import now_ms
from september.brain.retention.retention import Sweeper, Swept
from september.brain.retention.sweeps import Lifetimes
from september.brain.store.brain_file import BrainFile
from september.brain.store.connection import Connection, connect
from september.brain.store.database import Database
from september.brain.store.store import Store

HOUR_MS = 3_600_000
EVERY_S = 0.005


def fill(connection: Connection, events: int, old: int) -> None:
    """A finished turn for each hundred events, all of them old."""
    connection.execute(
        "INSERT INTO conversations (task_id, agent, title, created_at, updated_at)"
        " VALUES ('task', 'a', 't', 0, 0)"
    )
    connection.executemany(
        "INSERT INTO turns (turn_id, task_id, status, agent, request, trace_id, created_at)"
        " VALUES (?, 'task', 'completed', 'a', '{}', '', 0)",
        [(f"turn-{n}",) for n in range(events // 100 + 1)],
    )
    connection.executemany(
        "INSERT INTO channel_events (task_id, turn_id, type, data, created_at)"
        " VALUES ('task', ?, 'text_delta', ?, ?)",
        ((f"turn-{n // 100}", '{"text": "' + "x" * 300 + '"}', old) for n in range(events)),
    )


def say(connection: Connection) -> None:
    """What a turn's stream commits."""
    connection.execute(
        "INSERT INTO channel_events (task_id, turn_id, type, data, created_at)"
        " VALUES ('task', 'live', 'text_delta', '{}', ?)",
        (now_ms(),),
    )


async def probe(database: Database, waits: list[float], over: trio.Event) -> None:
    """Commit an event every 5 ms, and note how long each took."""
    while not over.is_set():
        began = time.perf_counter()
        await database.write(say)
        waits.append((time.perf_counter() - began) * 1000)
        await trio.sleep(EVERY_S)


async def beside(database: Database, sweeper: Sweeper | None, seconds: float) -> list[float]:
    """The probe's waits while `sweeper` works, or for `seconds` alone."""
    waits: list[float] = []
    over = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(probe, database, waits, over)
        if sweeper is not None:
            await sweeper.round()
        else:
            await trio.sleep(seconds)
        over.set()
    return waits


async def measure(brain: Path, events: int) -> tuple[list[float], list[float], Swept, float]:
    """Waits alone and beside the sweep, what was swept, and how long it took."""
    file = BrainFile(brain)
    store = ChildSpec("store", lambda: Store(file))
    async with running_tree(SupervisorSpec("bench", (store,))) as tree:
        database = Database(tree.ref(store))
        old = now_ms() - 4 * HOUR_MS
        await database.write(partial(fill, events=events, old=old))
        await database.write(lambda c: c.execute("SELECT 1") and None)
        await trio.to_thread.run_sync(shutil.copy, brain, brain.with_suffix(".peer"))
        wal = Path(f"{brain}-wal")
        await trio.to_thread.run_sync(shutil.copy, wal, f"{brain.with_suffix('.peer')}-wal")
        alone = await beside(database, None, 3.0)
        sweeper = Sweeper(database, Lifetimes(3 * 3600, 72 * 3600))
        began = time.perf_counter()
        swept = await beside(database, sweeper, 0.0)
        return alone, swept, sweeper.swept, time.perf_counter() - began


def peer(brain: Path) -> tuple[float, float]:
    """Seconds that plain SQLite holds the writer for a DELETE and a VACUUM of the same rows."""
    connection = connect(brain)
    connection.execute("PRAGMA synchronous = NORMAL")
    began = time.perf_counter()
    connection.execute("DELETE FROM channel_events")
    deleted = time.perf_counter()
    connection.execute("VACUUM")
    vacuumed = time.perf_counter()
    connection.close()
    return deleted - began, vacuumed - deleted


def at(waits: list[float], share: float) -> float:
    """A percentile."""
    return sorted(waits)[min(len(waits) - 1, int(share * len(waits)))]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    events = parser.parse_args().events
    with tempfile.TemporaryDirectory() as folder:
        brain = Path(folder) / "brain.sqlite"
        alone, swept, done, took = trio.run(measure, brain, events)
        delete_s, vacuum_s = peer(brain.with_suffix(".peer"))
    print(f"{events} events of {brain.name}: {done.rows.total()} rows, {done.pages} pages")
    for name, waits in (("alone", alone), ("beside the sweep", swept)):
        print(
            f"  commit {name:17}: p50 {median(waits):6.2f} ms  p99 {at(waits, 0.99):6.2f} ms"
            f"  longest {max(waits):6.2f} ms  ({len(waits)} commits)"
        )
    print(f"  sweep: {took:.1f} s, longest bite {done.longest_s * 1000:.1f} ms")
    longest = max(delete_s, vacuum_s)
    print(
        f"  peer (DELETE, VACUUM): writer held {delete_s * 1000:.0f} ms + {vacuum_s * 1000:.0f} ms;"
        f" {longest / done.longest_s:.0f} times our longest bite"
    )


if __name__ == "__main__":
    main()
