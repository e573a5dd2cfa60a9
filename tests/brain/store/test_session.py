"""A session: its thread is idle whenever nobody waits for it, and gone once it is closed."""

import subprocess
import sys
import threading

import apsw
import pytest
import trio

from september.brain.store.brain_file import BrainFile
from september.brain.store.connection import Connection
from september.brain.store.session import Role, Session

from .conftest import Disk

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


def _database_threads() -> int:
    return sum("apsw" in thread.name for thread in threading.enumerate())


async def test_a_cancelled_run_returns_when_its_work_has_ended(brain: BrainFile) -> None:
    session = await Session.open(brain, Role.READER)
    ended = threading.Event()

    def work(db: Connection) -> None:
        try:
            db.execute(ENDLESS).fetchall()
        finally:
            ended.set()

    with trio.move_on_after(0.02) as scope:
        await session.run(work)
    assert scope.cancelled_caught and ended.is_set()
    await session.close()


async def test_an_opening_that_is_cancelled_leaves_no_thread(brain: BrainFile) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await Session.open(brain, Role.READER)
    assert scope.cancelled_caught and _database_threads() == 0


async def test_an_opening_that_fails_leaves_no_thread(brain: BrainFile) -> None:
    brain.path.write_bytes(b"SQLite format 3\x00" + b"\xa5" * 8176)
    with pytest.raises(apsw.Error):
        session = await Session.open(brain, Role.READER)
        await session.run(lambda db: db.execute("SELECT * FROM sqlite_schema").fetchall())
        await session.close()
    assert _database_threads() == 0


async def test_a_close_that_cannot_tidy_up_still_closes(disk: Disk, brain: BrainFile) -> None:
    session = await Session.open(brain, Role.WRITER)
    await session.run(lambda db: db.execute("PRAGMA journal_mode = WAL").fetchall())
    await session.run(lambda db: db.execute("CREATE TABLE t (a)").fetchall())
    disk.fail_after(0, apsw.IOError("injected"), times=10**6)
    await session.close()
    assert disk.failed and _database_threads() == 0


async def test_a_session_can_be_closed_by_a_task_that_is_being_cancelled(brain: BrainFile) -> None:
    session = await Session.open(brain, Role.WRITER)
    with trio.CancelScope() as scope:
        scope.cancel()
        await session.close()
    assert _database_threads() == 0


def test_the_store_does_not_load_numpy() -> None:
    probe = "import sys, september.brain.store.database; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0
