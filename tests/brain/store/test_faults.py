"""What happens when the disk is full, broken, locked or gone: nobody is answered falsely."""

import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest
import trio

from september.actors import (
    Backoff,
    ChildSpec,
    Intensity,
    RestartsExhausted,
    StartFailed,
    SupervisorSpec,
    Tree,
    running_tree,
)
from september.actors.testing import running
from september.brain.store.brain_file import BrainFile
from september.brain.store.connection import Connection, connect
from september.brain.store.database import Database
from september.brain.store.faults import Verdict, judge
from september.brain.store.store import Store, StoreMessage
from september.errors import SeptemberError

from .conftest import Disk, Put

Keys = Callable[[Connection], list[str]]
OnDisk = Callable[[], list[str]]


@asynccontextmanager
async def supervised(
    brain: BrainFile, restarts: int = 3
) -> AsyncGenerator[tuple[Database, Tree, ChildSpec[StoreMessage]], None]:
    spec: ChildSpec[StoreMessage] = ChildSpec("store", lambda: Store(brain))
    engine = SupervisorSpec(
        "engine", (spec,), intensity=Intensity(restarts), backoff=Backoff(first=0.001)
    )
    async with running_tree(engine) as tree:
        yield Database(tree.ref(spec)), tree, spec


async def test_a_full_brain_refuses_what_does_not_fit_and_takes_it_once_there_is_room(
    database: Database, put: Put, on_disk: OnDisk
) -> None:
    def limit(spare: int) -> Callable[[Connection], object]:
        def work(db: Connection) -> None:
            (pages,) = db.execute("PRAGMA page_count").fetchone() or (0,)
            db.execute(f"PRAGMA max_page_count = {pages + spare}").fetchall()

        return work

    await database.write(limit(2))
    with pytest.raises(SeptemberError, match="Make room") as full:
        await database.write(put("big", "x" * 100_000))
    assert full.value.code == "BRAIN_FULL"
    await database.write(put("small"))
    await database.write(limit(1000))
    await database.write(put("big", "x" * 100_000))
    assert on_disk() == ["big", "small"]


async def test_a_lock_that_another_program_keeps_is_reported_and_outlived(
    database: Database, brain: BrainFile, put: Put, on_disk: OnDisk
) -> None:
    await database.write(lambda db: db.execute("PRAGMA busy_timeout = 20").fetchall())
    other = connect(brain.path)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(SeptemberError, match="another program") as busy:
        await database.write(put("a"))
    assert busy.value.code == "BRAIN_BUSY"
    other.execute("ROLLBACK")
    other.close()
    await database.write(put("b"))
    assert on_disk() == ["b"]


async def test_a_short_lock_of_another_program_is_waited_out(
    database: Database, brain: BrainFile, put: Put, on_disk: OnDisk
) -> None:
    other = connect(brain.path)
    other.execute("BEGIN IMMEDIATE")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.write, put("a"))
        await trio.sleep(0.05)  # the writer is asleep inside SQLite: there is no event to wait for
        other.execute("ROLLBACK")
    other.close()
    assert on_disk() == ["a"]


async def test_an_io_error_fails_the_write_and_the_next_incarnation_serves_on(
    disk: Disk, brain: BrainFile, put: Put, keys: Keys
) -> None:
    async with supervised(brain) as (database, tree, spec):
        await database.write(put("a"))
        disk.fail_after(0, apsw.IOError("injected"), times=1)
        with pytest.raises(SeptemberError, match="Check the disk") as broken:
            await database.write(put("b"))
        disk.heal()
        assert broken.value.code == "BRAIN_UNUSABLE"
        await database.write(put("c"))
        assert await database.read(keys) == ["a", "c"]
        assert tree.ref(spec).cell.incarnation == 2


@pytest.mark.parametrize(
    ("error", "times"),
    [
        (apsw.FullError("injected"), 1),
        (apsw.FullError("injected"), 10**6),
        (apsw.IOError("injected"), 1),
    ],
    ids=["full once", "full", "broken once"],
)
async def test_wherever_the_disk_fails_the_answered_writes_are_there_and_no_half_ones(
    disk: Disk, tmp_path: Path, error: Exception, times: int
) -> None:
    """Fail at call 0, 1, 2 … until a run gets through without meeting the fault."""
    call = 0
    while True:
        brain = BrainFile(tmp_path / f"{call}" / "brain.sqlite")
        answered = await _write_on_a_failing_disk(disk, brain, call, error, times)
        _check_contents(brain, answered)
        if not disk.failed:
            break
        call += 1
    assert call > 10  # as many places as that to fail at


async def _write_on_a_failing_disk(
    disk: Disk, brain: BrainFile, call: int, error: Exception, times: int
) -> set[int]:
    answered: set[int] = set()

    def pair(number: int) -> Callable[[Connection], None]:
        def work(db: Connection) -> None:
            for half in ("left", "right"):
                row = (f"{half} {number}", "x" * 3000)
                db.execute("INSERT INTO brain_meta VALUES (?, ?)", row)

        return work

    async def write(database: Database, number: int) -> None:
        try:
            await database.write(pair(number))
            answered.add(number)
        except SeptemberError as refused:
            assert refused.code in ("BRAIN_FULL", "BRAIN_UNUSABLE")

    async with supervised(brain, restarts=10) as (database, _, _):
        disk.fail_after(call, error, times=times)
        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(write, database, number)
        await write(database, 6)
        disk.heal()
        await database.write(pair(7))
        answered.add(7)
    return answered


def _check_contents(brain: BrainFile, answered: set[int]) -> None:
    db = connect(brain.path)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    rows = [key.split() for (key,) in db.execute("SELECT key FROM brain_meta")]
    db.close()
    left = {int(number) for half, number in rows if half == "left"}
    right = {int(number) for half, number in rows if half == "right"}
    assert left == right == answered


def _damage(brain: BrainFile, table: str) -> None:
    """Overwrite the root page of `table`."""
    db = connect(brain.path)
    (page,) = db.execute(
        "SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)
    ).fetchone() or (0,)
    db.close()
    with brain.path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)


async def test_a_damaged_page_crashes_the_store_with_the_remedy_and_spares_the_rest(
    brain: BrainFile, put: Put, keys: Keys
) -> None:
    async with running(Store(brain)) as store:
        await Database(store).write(put("a"))
    _damage(brain, "learning_signals")
    async with supervised(brain) as (database, tree, spec):
        with pytest.raises(SeptemberError, match=r"sqlite3 FILE \.recover") as damaged:
            await database.read(lambda db: db.execute("SELECT * FROM learning_signals").fetchall())
        assert damaged.value.code == "BRAIN_UNUSABLE"
        assert str(brain.path) in damaged.value.message
        assert await database.read(keys) == ["a"]
        assert tree.ref(spec).cell.incarnation == 2


async def test_a_brain_whose_schema_is_damaged_does_not_open_and_is_left_as_it_is(
    brain: BrainFile,
) -> None:
    async with running(Store(brain)):
        pass
    _damage(brain, "brain_meta")
    with brain.path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xa5" * 3996)
    before = brain.path.read_bytes()
    error = await refusal(brain)
    assert error.code == "BRAIN_UNUSABLE" and "left as it is" in error.message
    assert brain.path.read_bytes() == before


async def refusal(brain: BrainFile) -> SeptemberError:
    """Start a store that must not come up and return why."""
    store = Store(brain)
    with pytest.raises(StartFailed) as refused:
        async with running(store):
            raise AssertionError("it came up")
    error: BaseException | None = refused.value
    while error is not None and not isinstance(error, SeptemberError):
        error = error.__cause__
    assert error is not None
    return error


async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(brain: BrainFile) -> None:
    brain.path.write_text("Dear diary,\n" * 100)
    error = await refusal(brain)
    assert error.code == "BRAIN_UNUSABLE" and "no SQLite database" in error.message
    assert brain.path.read_text() == "Dear diary,\n" * 100


async def test_the_database_of_another_program_is_refused_and_left_as_it_is(
    brain: BrainFile,
) -> None:
    db = connect(brain.path)
    db.execute("CREATE TABLE bookmarks (url)")
    db.close()
    before = brain.path.read_bytes()
    error = await refusal(brain)
    assert error.code == "MIGRATION_REQUIRED" and "some other program" in error.message
    assert brain.path.read_bytes() == before


async def test_a_brain_removed_under_a_running_engine_is_not_replaced_by_an_empty_one(
    brain: BrainFile, put: Put, tmp_path: Path
) -> None:
    with pytest.raises(RestartsExhausted):
        async with supervised(brain, restarts=2) as (database, _, _):
            await database.write(put("a"))
            brain.path.unlink()
            with pytest.raises(SeptemberError, match="removed or replaced"):
                await database.write(put("b"))
            await trio.sleep_forever()
    assert not brain.path.exists()


async def test_a_brain_replaced_by_a_backup_under_a_running_engine_is_noticed(
    brain: BrainFile, put: Put, tmp_path: Path
) -> None:
    async with running(Store(brain)) as store:
        await Database(store).write(put("a"))
    backup = tmp_path / "backup.sqlite"
    shutil.copy(brain.path, backup)
    with pytest.raises(RestartsExhausted):
        async with supervised(brain, restarts=0) as (database, _, _):
            backup.rename(brain.path)
            with pytest.raises(SeptemberError, match="removed or replaced"):
                await database.write(put("b"))
            await trio.sleep_forever()


@pytest.mark.parametrize(
    ("error", "errno", "verdict"),
    [
        (apsw.ConstraintError(), 0, Verdict.CALLER),
        (apsw.SQLError(), 0, Verdict.CALLER),
        (ValueError(), 0, Verdict.CALLER),
        (SeptemberError("TASK_BUSY", ""), 0, Verdict.CALLER),
        (apsw.FullError(), 0, Verdict.FULL),
        (apsw.IOError(), 28, Verdict.FULL),  # ENOSPC
        (apsw.IOError(), 122, Verdict.FULL),  # EDQUOT
        (apsw.IOError(), 5, Verdict.UNUSABLE),  # EIO
        (apsw.BusyError(), 0, Verdict.BUSY),
        (apsw.CorruptError(), 0, Verdict.UNUSABLE),
        (apsw.NotADBError(), 0, Verdict.UNUSABLE),
        (apsw.CantOpenError(), 0, Verdict.UNUSABLE),
        (SeptemberError("BRAIN_UNUSABLE", ""), 0, Verdict.UNUSABLE),
    ],
)
def test_each_error_has_its_verdict(error: Exception, errno: int, verdict: Verdict) -> None:
    assert judge(error, errno) is verdict


async def test_a_full_text_index_at_odds_with_its_table_is_its_readers_problem_alone(
    database: Database, keys: Keys
) -> None:
    def spoil(db: Connection) -> None:
        db.execute("UPDATE episodes_fts_data SET block = x'ffffffff' WHERE id > 10")

    def learn(db: Connection) -> None:
        db.execute(
            "INSERT INTO episodes (id, key, description, value, source, occurred_at, created_at)"
            " VALUES ('e', 'k', 'a dog running', 'v', 's', 1, 1)"
        )

    await database.write(learn)
    await database.write(spoil)
    with pytest.raises(apsw.CorruptError):
        await database.read(
            lambda db: db.execute(
                "SELECT * FROM episodes_fts WHERE episodes_fts MATCH 'dog'"
            ).fetchall()
        )
    assert await database.read(keys) == []
