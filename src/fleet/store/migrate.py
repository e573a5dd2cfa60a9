"""Forward-only migrations of the fleet's database, one orchestrator at a time."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final, cast

from ...errors import SeptemberError
from ...logs import get_logger
from .database import Dedicated, Session

_log = get_logger("september.fleet.migrate")

MIGRATION_LOCK: Final = 0x5E97_E4BE
"""The advisory lock under which migrations run; any number nobody else uses."""

_FILE_NAME: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    checksum   TEXT NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
)
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. `checksum` is the SHA-256 of its text, in hex."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """What is recorded, so that a file changed afterwards is noticed."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.version:04}_{self.name}"


def available(folder: Traversable | None = None) -> tuple[Migration, ...]:
    """Read the migrations of `folder`, by default those that come with the orchestrator.

    Raises SeptemberError MIGRATION_REQUIRED for a wrong name, a gap or a number used twice.
    """
    folder = folder or _built_in()
    found = sorted(
        (_read(file) for file in folder.iterdir() if file.name.endswith(".sql")),
        key=lambda migration: migration.version,
    )
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise _refuse(f"{folder} has a gap, or a number used twice; install September again")
    return tuple(found)


async def migrate(
    connection: Dedicated, found: Sequence[Migration] | None = None
) -> tuple[Migration, ...]:
    """Bring the database up to date and return what was applied.

    Every orchestrator that starts does this; the lock lets one at a time through, and goes with
    its connection. Each migration is one transaction with its record: a failed one leaves the
    database at the one before. Raises SeptemberError MIGRATION_REQUIRED.
    """
    found = available() if found is None else found

    async def under_lock(session: Session) -> tuple[Migration, ...]:
        await session.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
        try:
            return await _apply_pending(session, found)
        finally:
            await session.execute("SELECT pg_advisory_unlock($1)", MIGRATION_LOCK)

    return await connection.run(under_lock)


async def _apply_pending(session: Session, found: Sequence[Migration]) -> tuple[Migration, ...]:
    await session.script(_TABLE)
    rows = await session.rows("SELECT version, name, checksum FROM schema_migrations ORDER BY 1")
    pending = _unapplied([(cast("int", r["version"]), str(r["checksum"])) for r in rows], found)
    for migration in pending:
        _log.info("migrating", migration=str(migration))
        await _apply(session, migration)
    return pending


def _unapplied(
    applied: Sequence[tuple[int, str]], found: Sequence[Migration]
) -> tuple[Migration, ...]:
    if len(applied) > len(found):
        raise _refuse(
            f"the database is at migration {applied[-1][0]:04}, this orchestrator knows up to "
            f"{len(found):04}; run the newer orchestrator, or restore a backup made before it"
        )
    for (version, checksum), migration in zip(applied, found, strict=False):
        if version != migration.version or checksum != migration.checksum:
            raise _refuse(
                f"{migration} is not what the database was migrated with: its text has changed; "
                "run the orchestrator that made this database, or restore the file"
            )
    return tuple(found[len(applied) :])


async def _apply(session: Session, migration: Migration) -> None:
    try:
        async with session.transaction():
            await session.script(migration.sql)
            await session.execute(
                "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
                migration.version,
                migration.name,
                migration.checksum,
            )
    except Exception as error:
        raise _refuse(
            f"{migration} failed and was undone: {error}; the database is as it was before it:"
            " put right what is in its way and start again, or run the release before this one"
        ) from error


def _built_in() -> Traversable:
    packaged = files(__name__.partition(".")[0]) / "migrations"  # in a wheel
    if not packaged.is_dir():
        packaged = Path(__file__).resolve().parents[3] / "migrations"  # in a checkout
    return packaged / "fleet"


def _read(file: Traversable) -> Migration:
    match = _FILE_NAME.fullmatch(file.name)
    if match is None:
        raise _refuse(f"{file} is not named like a migration: 0001_what_it_does.sql")
    return Migration(int(match[1]), match[2], file.read_text(encoding="utf-8"))


def _refuse(message: str) -> SeptemberError:
    return SeptemberError("MIGRATION_REQUIRED", message)
