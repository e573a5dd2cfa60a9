"""Where the brain is: the checks before it is opened, and whether it is still the same file."""

import os
from pathlib import Path
from typing import Final

from ...errors import ConfigError, SeptemberError

_MAGIC: Final = b"SQLite format 3\x00"
"""First bytes of every SQLite database (https://www.sqlite.org/fileformat.html, 1.3)."""


class BrainFile:
    """The path of a brain, and the identity of the file first opened there.

    Make one per Engine and share it among the incarnations of the store: a brain that is removed
    or replaced under a running Engine must not be mistaken for a new, empty one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._identity: tuple[int, int] | None = None

    def prepare(self) -> None:
        """Make the folder and check the place; nothing that exists is changed.

        Raises ConfigError for a place where no brain can be, SeptemberError BRAIN_UNUSABLE for a
        file that is no brain.
        """
        self._make_folder()
        self._check_writable()
        self._check_header()
        if self._identity is not None:
            self.check_in_place()

    def remember(self) -> None:
        """Note which file was opened; the first time counts."""
        if self._identity is None:
            self._identity = self._identify()

    def check_in_place(self) -> None:
        """Raise SeptemberError BRAIN_UNUSABLE unless the path still names the file opened first.

        What is written to a removed file is lost without an error; SQLite does not look.
        """
        if self._identify() != self._identity:
            raise _unusable(
                self.path,
                "was removed or replaced while the Engine ran. Put the file back, or restart "
                "the Engine to begin with what is there now",
            )

    def _identify(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _make_folder(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _refuse(
                f"cannot make the folder {self.path.parent}: {error.strerror}. Make it writable, "
                "mount a volume there, or choose another path"
            ) from error

    def _check_writable(self) -> None:
        folder = self.path.parent
        if self.path.is_dir():
            raise _refuse(
                f"{self.path} is a directory. Name a file in it: {self.path / 'brain.sqlite'}"
            )
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            raise _refuse(f"{folder} is on a read-only file system. Mount it read-write")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise _refuse(f"user {os.geteuid()} may not write in {folder}. Change its owner")
        if self.path.exists() and not os.access(self.path, os.R_OK | os.W_OK):
            raise _refuse(f"user {os.geteuid()} may not write {self.path}. Change its owner")

    def _check_header(self) -> None:
        try:
            with self.path.open("rb") as file:
                start = file.read(len(_MAGIC))
        except FileNotFoundError:
            return
        except OSError as error:
            raise _unusable(self.path, f"cannot be read: {error.strerror}") from error
        if start and start != _MAGIC:
            raise _unusable(
                self.path,
                "is no SQLite database, or its beginning is damaged; it was left as it is. "
                "Choose another SQLITE_DB_PATH or restore a backup",
            )


def _refuse(message: str) -> ConfigError:
    return ConfigError("SQLITE_DB_PATH", message)


def _unusable(path: Path, message: str) -> SeptemberError:
    return SeptemberError("BRAIN_UNUSABLE", f"{path} {message}", {"path": str(path)})
