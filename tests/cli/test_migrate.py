"""`september migrate`."""

from contextlib import closing
from pathlib import Path

from september.brain.store.connection import connect

from .conftest import Run


def test_check_lists_what_is_pending_and_changes_nothing(run: Run, tmp_path: Path) -> None:
    brain = tmp_path / "brain.sqlite"
    done = run("migrate", "--check", "--brain", str(brain))
    assert done.returncode == 1
    assert "0001_engine" in done.stdout
    assert f"september migrate --brain {brain}" in done.stderr
    assert not brain.exists()


def test_a_brain_is_brought_up_to_date_once(run: Run, tmp_path: Path) -> None:
    brain = tmp_path / "brain.sqlite"
    first = run("migrate", SQLITE_DB_PATH=str(brain))
    assert first.returncode == 0
    assert "1 of " in first.stdout
    assert "up to date already" in run("migrate", SQLITE_DB_PATH=str(brain)).stdout
    assert run("migrate", "--check", SQLITE_DB_PATH=str(brain)).returncode == 0


def test_a_newer_brain_is_refused_in_one_line(run: Run, tmp_path: Path) -> None:
    brain = tmp_path / "brain.sqlite"
    run("migrate", "--brain", str(brain))
    with closing(connect(brain)) as db:
        db.execute(
            "INSERT INTO schema_migrations SELECT max(version)+1, 'x', 'x', 'x'"
            " FROM schema_migrations"
        )
    done = run("migrate", "--brain", str(brain))
    assert done.returncode == 1
    assert done.stderr.startswith("september: ")
    assert "is newer than this Engine" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_unwritable_place_is_a_settings_error(run: Run) -> None:
    done = run("migrate", "--brain", "/proc/brain.sqlite")
    assert done.returncode == 2
    assert "SQLITE_DB_PATH" in done.stderr
