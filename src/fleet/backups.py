"""Backups of brains: files of the orchestrator's host, by product and user, named by their time.

They outlive their Engine: what a user had can be put into the Engine that the user gets next.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

import trio

from ..errors import SeptemberError
from .backends.backend import Backend
from .instances import Engine

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
class Backups:
    """The backups below `root`."""

    root: Path

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
        return [_read(path) for path in sorted(self._files(engine), reverse=True)]

    def find(self, engine: Engine, name: str) -> Path:
        """The file of a backup. Raises SeptemberError if there is none, or it is no brain."""
        for path in self._files(engine):
            if path.stem == name:
                with path.open("rb") as file:
                    if file.read(len(_MAGIC)) == _MAGIC:
                        return path
                raise SeptemberError("INVALID_REQUEST", f"{path} is no SQLite database")
        known = ", ".join(backup.name for backup in self.of(engine)) or "there is none"
        raise SeptemberError("NOT_FOUND", f"no backup is called {name!r}; choose one of: {known}")

    def _files(self, engine: Engine) -> Iterator[Path]:
        return self._folder(engine).glob("*.sqlite")

    def _folder(self, engine: Engine) -> Path:
        """A user's id may hold any character and be long: what of it is legible, and its hash."""
        legible = re.sub(r"[^A-Za-z0-9._-]", "_", engine.user_id)[:60].lstrip(".")
        digest = sha256(engine.user_id.encode()).hexdigest()[:12]
        return self.root / engine.product / f"{legible}-{digest}"


def _read(path: Path) -> Backup:
    status = path.stat()
    return Backup(path, datetime.fromtimestamp(status.st_mtime, UTC), status.st_size)
