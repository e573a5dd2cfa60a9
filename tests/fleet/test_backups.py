"""Backups of brains: taken from whoever has one, put back, and put back again when that is bad."""

import os
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from september.errors import SeptemberError
from september.fleet import registry
from september.fleet.backups import Backup, Backups, Retention
from september.fleet.instances import Operation, Status

from .api import ADMIN, served
from .stage import found, staged

MAGIC = "SQLite format 3\0"


async def test_a_restore_goes_through_or_back(database_url: str, tmp_path: Path) -> None:
    backups = Backups(tmp_path)
    async with staged(database_url) as stage:
        engine = await stage.provision()
        stage.world.storage[engine.id] = f"{MAGIC}before"
        taken = await backups.take(stage.backend, engine)
        stage.world.storage[engine.id] = "after"
        brain = backups.find(engine, taken.name)
        restored = found(await stage.perform(engine, Operation.RESTORE, next_brain=str(brain)))
        assert restored.status is Status.RUNNING and restored.next_brain is None
        assert stage.world.storage[engine.id] == f"{MAGIC}before"
        brain.unlink()
        stage.world.storage[engine.id] = "kept"
        back = found(await stage.perform(engine, Operation.RESTORE, next_brain=str(brain)))
        assert back.status is Status.RUNNING
        assert stage.world.storage[engine.id] == "kept"
        assert await stage.actions(engine) == ["provision", "restore", "restore"]
        await stage.agrees()


async def test_a_backup_is_its_users_and_outlives_the_engine(
    database_url: str, tmp_path: Path
) -> None:
    backups = Backups(tmp_path)
    async with staged(database_url) as stage:
        engine, other = await stage.provision("a/../b"), await stage.provision("a_.._b")
        stage.world.storage[engine.id] = f"{MAGIC}mine"
        taken = await backups.take(stage.backend, engine)
        assert taken.path.is_relative_to(tmp_path) and taken.path.stat().st_mode & 0o777 == 0o600
        assert backups.of(other) == []
        with pytest.raises(SeptemberError, match="there is none"):
            backups.find(other, taken.name)
        await stage.perform(engine, Operation.DESTROY)
        again = await stage.provision("a/../b")
        assert [one.name for one in backups.of(again)] == [taken.name]


async def test_what_is_no_brain_is_not_put_back(database_url: str, tmp_path: Path) -> None:
    backups = Backups(tmp_path)
    async with staged(database_url) as stage:
        engine = await stage.provision()
        stage.world.storage[engine.id] = "not a database"
        taken = await backups.take(stage.backend, engine)
        with pytest.raises(SeptemberError, match="is no SQLite database"):
            backups.find(engine, taken.name)


NOW = datetime(2030, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("retention", "ages", "stay"),
    [
        (Retention(), [1, 100, 1000], [1, 100, 1000]),
        (Retention(keep=2), [1, 2, 3, 4], [1, 2]),
        (Retention(max_age_s=3 * 86_400), [1, 2, 4, 5], [1, 2]),
        (Retention(keep=1, max_age_s=86_400), [9, 10], [9]),
        (Retention(keep=3, max_age_s=86_400), [], []),
    ],
)
def test_what_stays_is_the_newest_of_each_user(
    retention: Retention, ages: list[int], stay: list[int]
) -> None:
    there = [Backup(Path(str(days)), NOW - timedelta(days=days), 1) for days in ages]
    gone = {one.name for one in retention.outlived(there, NOW)}
    assert [days for days in ages if str(days) not in gone] == stay


async def test_a_backup_removes_those_beyond_the_bounds_and_says_so(
    database_url: str, tmp_path: Path
) -> None:
    bounds: dict[str, Any] = {"orch_backup_keep": 2, "orch_backup_max_age_s": 7 * 86_400}
    async with served(database_url, orch_data_dir=tmp_path, **bounds) as api:
        ada, eve = await api.stage.provision("ada"), await api.stage.provision("eve")
        for engine in (ada, eve):
            api.stage.world.storage[engine.id] = f"{MAGIC}{engine.user_id}"
        old = [_older(tmp_path, api.stage.product.slug, user, days) for user, days in OLDER]
        in_use = partial(registry.change, held=eve, columns={"next_brain": str(old[-1])})
        await api.stage.fleet.resources.database.write(in_use)
        for engine in (ada, eve):
            made = await api.ask("POST", f"/admin/engines/{engine.id}/backup", **ADMIN)
            assert made.status_code == 200, made.text
        assert [path.exists() for path in old] == [True, False, False, False, True]
        shown = await api.get(f"/admin/engines/{ada.id}/backups")
        assert (shown["keep"], shown["max_age_s"], len(shown["backups"])) == (2, 7 * 86_400, 2)
        told = (await api.get("/admin/audit", action="backup_removed"))["entries"]
        assert {one["metadata"]["path"] for one in told} == {str(path) for path in old[1:4]}


OLDER = [("ada", 1), ("ada", 2), ("ada", 3), ("eve", 8), ("eve", 9)]


def _older(root: Path, product: str, user: str, days: int) -> Path:
    """A backup that was made so many days ago."""
    taken = datetime.now(UTC) - timedelta(days=days)
    folder = root / "backups" / product / _folder_of(user)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{taken:%Y-%m-%dT%H-%M-%SZ}.sqlite"
    path.write_text(MAGIC)
    os.utime(path, (taken.timestamp(), taken.timestamp()))
    return path


def _folder_of(user: str) -> str:
    return f"{user}-{sha256(user.encode()).hexdigest()[:12]}"
