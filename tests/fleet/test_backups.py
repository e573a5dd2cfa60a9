"""Backups of brains: taken from whoever has one, put back, and put back again when that is bad."""

from pathlib import Path

import pytest

from september.errors import SeptemberError
from september.fleet.backups import Backups
from september.fleet.instances import Operation, Status

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
