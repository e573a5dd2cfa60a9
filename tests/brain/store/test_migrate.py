"""Migrations: in order, once, all or nothing, and never on a brain they do not fit."""

import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from september.actors.testing import running
from september.brain.store.brain_file import BrainFile
from september.brain.store.connection import connect
from september.brain.store.database import Database
from september.brain.store.lock import BrainLock
from september.brain.store.migrate import Migration, apply, available, pending
from september.brain.store.store import Store
from september.errors import SeptemberError

from .conftest import Disk

FIRST = "CREATE TABLE fruit (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;"
SECOND = """
-- two statements and rows, so that there is something to be half done
CREATE TABLE basket (id INTEGER PRIMARY KEY, fruit INTEGER NOT NULL REFERENCES fruit) STRICT;
INSERT INTO fruit (name) VALUES ('apple'), ('pear');
INSERT INTO basket (fruit) SELECT id FROM fruit;
CREATE INDEX basket_fruit ON basket (fruit);
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_fruit.sql").write_text(FIRST)
    return folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "brain.sqlite"


def tables(path: Path) -> set[str]:
    db = connect(path)
    rows = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    db.close()
    return {name for (name,) in rows}


def versions(path: Path) -> list[int]:
    db = connect(path)
    rows = db.execute("SELECT version FROM schema_migrations ORDER BY version").fetchall()
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    db.close()
    return [version for (version,) in rows]


def refusal(path: Path, folder: Path) -> SeptemberError:
    with pytest.raises(SeptemberError) as refused:
        apply(path, folder=folder)
    return refused.value


def test_the_migrations_that_come_with_the_engine_make_a_brain(path: Path) -> None:
    made = apply(path)
    assert [migration.version for migration in made] == list(range(1, len(made) + 1))
    assert versions(path) == [migration.version for migration in made]
    documented = {
        "conversations", "messages", "turns", "channel_events", "channel_state_snapshots",
        "hitl_requests", "working_memory_log", "trajectories", "learning_signals",
        "observability_events", "episodes", "episodes_fts", "knowledge_store", "knowledge_fts",
    }  # fmt: skip
    assert documented <= tables(path)


def test_each_migration_is_recorded_with_name_checksum_and_time(path: Path, folder: Path) -> None:
    [migration] = apply(path, folder=folder)
    db = connect(path)
    row = db.execute("SELECT * FROM schema_migrations").fetchone()
    db.close()
    assert row is not None and row[:3] == (1, "fruit", migration.checksum)
    assert row[3].endswith("Z") and row[3][10] == "T"


def test_only_what_is_new_is_applied_and_progress_is_told(path: Path, folder: Path) -> None:
    apply(path, folder=folder)
    (folder / "0002_basket.sql").write_text(SECOND)
    (folder / "0003_more.sql").write_text("INSERT INTO fruit (name) VALUES ('plum');")
    told: list[tuple[str, int, int]] = []

    def progress(migration: Migration, number: int, of: int) -> None:
        told.append((str(migration), number, of))

    assert [str(done) for done in apply(path, progress, folder)] == ["0002_basket", "0003_more"]
    assert told == [("0002_basket", 1, 2), ("0003_more", 2, 2)]
    assert apply(path, progress, folder) == ()
    assert versions(path) == [1, 2, 3]


def test_pending_says_what_is_to_be_done_and_does_nothing(path: Path, folder: Path) -> None:
    assert [str(todo) for todo in pending(path, folder)] == ["0001_fruit"]
    assert not path.exists()
    apply(path, folder=folder)
    before = path.read_bytes()
    (folder / "0002_basket.sql").write_text(SECOND)
    assert [str(todo) for todo in pending(path, folder)] == ["0002_basket"]
    assert path.read_bytes() == before


def test_a_brain_newer_than_the_engine_is_left_alone(path: Path, folder: Path) -> None:
    (folder / "0002_basket.sql").write_text(SECOND)
    apply(path, folder=folder)
    before = path.read_bytes()
    (folder / "0002_basket.sql").unlink()
    error = refusal(path, folder)
    assert error.code == "MIGRATION_REQUIRED" and error.status == 503
    assert "is at 0002_basket, the Engine knows up to 0001_fruit" in error.message
    assert "Run an Engine that knows 0002_basket" in error.message
    assert error.details == {"brain": 2, "engine": 1}
    assert path.read_bytes() == before
    with pytest.raises(SeptemberError, match="newer than this Engine"):
        pending(path, folder)


def test_a_migration_changed_after_it_was_applied_is_noticed(path: Path, folder: Path) -> None:
    apply(path, folder=folder)
    (folder / "0001_fruit.sql").write_text(FIRST + "\n-- harmless?")
    (folder / "0002_basket.sql").write_text(SECOND)
    error = refusal(path, folder)
    assert "0001_fruit" in error.message and "text has changed" in error.message
    assert "basket" not in tables(path)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["0003_third.sql"], "0003_third where 0002 should be"),
        (["0001_again.sql"], "where 0002 should be"),
        (["2_second.sql"], "not named like a migration"),
        (["0002-second.sql"], "not named like a migration"),
    ],
)
def test_a_folder_with_a_gap_a_double_or_a_wrong_name_is_refused(
    path: Path, folder: Path, names: list[str], says: str
) -> None:
    for name in names:
        (folder / name).write_text(SECOND)
    error = refusal(path, folder)
    assert error.code == "MIGRATION_REQUIRED" and says in error.message
    assert not path.exists()


def test_a_folder_without_migrations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SeptemberError, match="no migrations"):
        available(tmp_path)
    with pytest.raises(SeptemberError, match="cannot read"):
        available(tmp_path / "missing")


def test_a_record_with_a_gap_is_refused(path: Path, folder: Path) -> None:
    (folder / "0002_basket.sql").write_text(SECOND)
    apply(path, folder=folder)
    db = connect(path)
    db.execute("DELETE FROM schema_migrations WHERE version = 1")
    db.close()
    assert "0002_basket but not 0001" in refusal(path, folder).message


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("CREATE TABLE half (a); SELECT nonsense FROM nowhere;", "no such table"),
        ("CREATE TABLE half (a); COMMIT; CREATE TABLE rest (a);", "must not commit"),
        ("CREATE TABLE half (a); ROLLBACK; CREATE TABLE rest (a);", "must not commit"),
        (
            "CREATE TABLE half (a REFERENCES fruit); INSERT INTO half VALUES (99);",
            "refers to a missing fruit",
        ),
        ("CREATE TABLE half (a); CREATE TABLE fruit (a);", "already exists"),
        ("CREATE TABLE half (", "incomplete input"),
    ],
)
def test_a_migration_that_fails_leaves_the_brain_as_it_was(
    path: Path, folder: Path, sql: str, says: str
) -> None:
    apply(path, folder=folder)
    (folder / "0002_wrong.sql").write_text(sql)
    error = refusal(path, folder)
    assert error.code == "MIGRATION_REQUIRED" and says in error.message
    assert "0002_wrong failed" in error.message and "as it was" in error.message
    assert tables(path) == {"fruit", "schema_migrations"} and versions(path) == [1]


def test_the_rows_of_a_table_that_is_rebuilt_do_not_cascade_away(path: Path, folder: Path) -> None:
    (folder / "0002_basket.sql").write_text(
        SECOND.replace("REFERENCES fruit", "REFERENCES fruit ON DELETE CASCADE")
    )
    apply(path, folder=folder)
    (folder / "0003_rebuild.sql").write_text(
        "CREATE TABLE new (id INTEGER PRIMARY KEY, name TEXT NOT NULL, colour TEXT) STRICT;"
        "INSERT INTO new (id, name) SELECT id, name FROM fruit;"
        "DROP TABLE fruit; ALTER TABLE new RENAME TO fruit;"
    )
    apply(path, folder=folder)
    db = connect(path)
    assert db.execute("SELECT count(*) FROM basket").fetchone() == (2,)
    db.close()


def test_wherever_the_disk_fills_up_a_migration_is_done_or_not_begun(
    disk: Disk, tmp_path: Path, folder: Path
) -> None:
    call = 0
    while True:
        path = tmp_path / f"{call}.sqlite"
        (folder / "0002_basket.sql").unlink(missing_ok=True)
        apply(path, folder=folder)
        (folder / "0002_basket.sql").write_text(SECOND)
        disk.fail_after(call, apsw.FullError("injected"), times=10**6)
        try:
            apply(path, folder=folder)
        except SeptemberError as error:
            assert error.code == "BRAIN_FULL"
        failed = disk.failed
        disk.heal()
        done = versions(path)
        assert ("basket" in tables(path)) is (done == [1, 2])
        apply(path, folder=folder)
        assert versions(path) == [1, 2]
        if not failed:
            break
        call += 1
    assert call > 5


def test_a_brain_in_use_is_not_migrated(path: Path, folder: Path) -> None:
    with BrainLock(path):
        assert refusal(path, folder).code == "BRAIN_LOCKED"


async def test_an_engine_migrates_when_it_boots(path: Path, folder: Path) -> None:
    apply(path, folder=folder)
    (folder / "0002_basket.sql").write_text(SECOND)
    async with running(Store(BrainFile(path), migrations_dir=folder)) as store:
        count = await Database(store).read(
            lambda db: db.execute("SELECT count(*) FROM basket").fetchone()
        )
    assert count == (2,)


async def test_behind_the_gate_an_engine_refuses_to_boot_and_says_what_to_run(
    path: Path, folder: Path
) -> None:
    apply(path, folder=folder)
    (folder / "0002_basket.sql").write_text(SECOND)
    with pytest.raises(Exception, match=r"needs 0002_basket.*september migrate"):
        async with running(Store(BrainFile(path), migrations="gate", migrations_dir=folder)):
            pass
    assert versions(path) == [1]
    apply(path, folder=folder)
    async with running(Store(BrainFile(path), migrations="gate", migrations_dir=folder)):
        pass


async def test_behind_the_gate_a_new_brain_is_made_all_the_same(path: Path, folder: Path) -> None:
    async with running(Store(BrainFile(path), migrations="gate", migrations_dir=folder)):
        pass
    assert versions(path) == [1]


@pytest.mark.crash
def test_a_migration_killed_at_any_step_leaves_the_old_schema_or_the_new(
    tmp_path: Path, folder: Path
) -> None:
    brains = tmp_path / "brains"
    brains.mkdir()
    apply(brains / "base.sqlite", folder=folder)
    (folder / "0002_basket.sql").write_text(SECOND)
    script = Path(__file__).with_name("kill_at_every_step.py")
    command = [sys.executable, str(script), str(brains), str(folder)]
    subprocess.run(command, check=True, timeout=100)
    outcomes: list[list[int]] = []
    for call in range(len(list(brains.glob("[0-9]*.sqlite")))):
        brain = brains / f"{call}.sqlite"
        outcomes.append(versions(brain))
        assert ("basket" in tables(brain)) is (outcomes[-1] == [1, 2])
        apply(brain, folder=folder)
        assert versions(brain) == [1, 2]
    assert [1] in outcomes[:-1] and outcomes[-1] == [1, 2]
    assert len(outcomes) > 5
