"""kill -9 of a process that writes: what was answered is there, nothing is there by half."""

from pathlib import Path

import pytest

from september.brain.store.connection import connect
from september.brain.store.lock import BrainLock

from .killing import killed_after

WRITE = """
import sys, trio
from pathlib import Path
from september.actors.testing import running
from september.brain.store.brain_file import BrainFile
from september.brain.store.database import Database
from september.brain.store.store import Store

def pair(key):
    def work(db):
        for half in ("left", "right"):
            db.execute("INSERT INTO brain_meta VALUES (?, ?)", (f"{half} {key}", "x" * 500))
        return key
    return work

async def write(database, name):
    number = 0
    while True:
        print(await database.write(pair(f"{name}-{number}")), flush=True)
        number += 1

async def main():
    brain = BrainFile(Path(sys.argv[1]))
    async with running(Store(brain)) as store, trio.open_nursery() as nursery:
        for writer in range(12):
            nursery.start_soon(write, Database(store), f"{sys.argv[2]}-{writer}")

trio.run(main)
"""
"""Twelve concurrent writers that print each key once its write has been answered."""


@pytest.mark.crash
def test_every_answered_write_survives_kill_9_and_no_half_one_does(tmp_path: Path) -> None:
    brain = tmp_path / "brain.sqlite"
    answered: set[str] = set()
    for life, answers in enumerate([1, 30, 100, 700, 3000]):
        answered.update(killed_after(WRITE, answers, brain, life))
        BrainLock(brain).release()
        db = connect(brain)
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = [key.split() for (key,) in db.execute("SELECT key FROM brain_meta")]
        db.close()
        left = {key for half, key in rows if half == "left"}
        assert left == {key for half, key in rows if half == "right"}
        assert left >= answered
        assert len(left - answered) <= 12 * (life + 1)  # at most one per writer was under way
    assert len(answered) > 3000
