"""Backups of brains: files of the orchestrator's host, by product and user, named by their time.

They outlive their Engine: what a user had can be put into the Engine that the user gets next.
Each backup that is made removes those that are beyond the bounds, of whichever user.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final, cast

import trio

from ..errors import SeptemberError
from . import audit
from .backends.backend import Backend
from .instances import Engine
from .store.database import Session

_FORM: Final = "%Y-%m-%dT%H-%M-%SZ"
_MAGIC: Final = b"SQLite format 3\0"
"""How such a file begins (sqlite.org/fileformat2, section 1.3)."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy of a brain. `taken_at` is UTC, `size` in bytes."""

    path: Path
    taken_at: datetime
    size: int

    @property
    def name(self) -> str:
        """What it is called among those of its user."""
        return self.path.stem


@dataclass(frozen=True, slots=True)
class Retention:
    """Which backups of a user stay: the newest `keep`, none older than `max_age_s` seconds.

    0 is no bound. The newest one of a user always stays.
    """

    keep: int = 0
    max_age_s: int = 0

    def outlived(self, newest_first: list[Backup], now: datetime) -> Iterator[Backup]:
        """Those of one user that do not stay."""
        oldest = now - timedelta(seconds=self.max_age_s) if self.max_age_s else None
        for place, backup in enumerate(newest_first):
            too_many = bool(self.keep) and place >= self.keep
            too_old = oldest is not None and backup.taken_at < oldest
            if place and (too_many or too_old):
                yield backup


@dataclass(frozen=True, slots=True)
class Backups:
    """The backups below `root`."""

    root: Path
    retention: Retention = Retention()

    async def take(self, backend: Backend, engine: Engine) -> Backup:
        """Copy an Engine's brain, running or not. Raises BackendError."""
        path = self._folder(engine) / f"{datetime.now(UTC):{_FORM}}.sqlite"
        await trio.to_thread.run_sync(lambda: path.parent.mkdir(0o700, True, True))
        fresh = path.with_suffix(".new")
        await backend.export(engine.id, fresh)
        await trio.Path(fresh).chmod(0o600)
        await trio.Path(fresh).rename(path)
        return _read(path)

    def of(self, engine: Engine) -> list[Backup]:
        """The backups of this Engine's user, newest first."""
        return _newest_first(self._folder(engine))

    def outlived(self, now: datetime, in_use: Collection[Path] = ()) -> list[Backup]:
        """The backups of all users that are beyond the bounds, and not `in_use`."""
        return [
            backup
            for folder in self.root.glob("*/*/")
            for backup in self.retention.outlived(_newest_first(folder), now)
            if backup.path not in in_use
        ]

    def find(self, engine: Engine, name: str) -> Path:
        """The file of a backup. Raises SeptemberError if there is none, or it is no brain."""
        for path in self._folder(engine).glob("*.sqlite"):
            if path.stem == name:
                with path.open("rb") as file:
                    if file.read(len(_MAGIC)) == _MAGIC:
                        return path
                raise SeptemberError("INVALID_REQUEST", f"{path} is no SQLite database")
        known = ", ".join(backup.name for backup in self.of(engine)) or "there is none"
        raise SeptemberError("NOT_FOUND", f"no backup is called {name!r}; choose one of: {known}")

    def _folder(self, engine: Engine) -> Path:
        """A user's id may hold any character and be long: what of it is legible, and its hash."""
        legible = re.sub(r"[^A-Za-z0-9._-]", "_", engine.user_id)[:60].lstrip(".")
        digest = sha256(engine.user_id.encode()).hexdigest()[:12]
        return self.root / engine.product / f"{legible}-{digest}"


async def brains_in_use(session: Session) -> set[str]:
    """The files that are being put in place of a brain."""
    rows = await session.rows("SELECT next_brain FROM engines WHERE next_brain IS NOT NULL")
    return {cast("str", row["next_brain"]) for row in rows}


def removal(backup: Backup) -> audit.Entry:
    """The entry about a backup that has to go."""
    about = {"backup": backup.name, "path": str(backup.path), "bytes": backup.size}
    return audit.Entry("backup_removed", metadata=about)


def _newest_first(folder: Path) -> list[Backup]:
    return [_read(path) for path in sorted(folder.glob("*.sqlite"), reverse=True)]


def _read(path: Path) -> Backup:
    status = path.stat()
    return Backup(path, datetime.fromtimestamp(status.st_mtime, UTC), status.st_size)
