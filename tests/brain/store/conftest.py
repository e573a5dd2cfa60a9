"""A brain on disk, a store that serves it, and a disk that fails on demand."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Protocol

import apsw
import pytest

from september.actors.testing import running
from september.brain.store.brain_file import BrainFile
from september.brain.store.connection import Connection, connect
from september.brain.store.database import Database
from september.brain.store.store import Store


@pytest.fixture
def brain(tmp_path: Path) -> BrainFile:
    return BrainFile(tmp_path / "brain.sqlite")


@pytest.fixture
async def database(brain: BrainFile) -> AsyncIterator[Database]:
    async with running(Store(brain)) as store:
        yield Database(store)


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = [t.name for t in threading.enumerate() if t not in before and "apsw" in t.name]
    assert left == []


class Put(Protocol):
    def __call__(self, key: str, value: str = "") -> Callable[[Connection], None]: ...


@pytest.fixture
def put() -> Put:
    """Make the work that writes one row of brain_meta."""

    def make(key: str, value: str = "") -> Callable[[Connection], None]:
        def work(db: Connection) -> None:
            db.execute("INSERT INTO brain_meta VALUES (?, ?)", (key, value))

        return work

    return make


def _keys(db: Connection) -> list[str]:
    return [key for (key,) in db.execute("SELECT key FROM brain_meta ORDER BY key")]


@pytest.fixture
def keys() -> Callable[[Connection], list[str]]:
    """The work that reads which rows there are."""
    return _keys


@pytest.fixture
def on_disk(brain: BrainFile) -> Callable[[], list[str]]:
    """Read which rows are committed, through a connection of the test's own."""

    def read() -> list[str]:
        db = connect(brain.path, read_only=True)
        try:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            return [str(row[0]) for row in db.execute("SELECT key FROM brain_meta ORDER BY key")]
        finally:
            db.close()

    return read


class Disk:
    """A file system that fails from its n-th write on, once or until it is healed."""

    def __init__(self) -> None:
        self.failed = 0
        self._before = 0
        self._times = 0
        self._error: Exception = apsw.FullError("injected")

    def fail_after(self, calls: int, error: Exception, *, times: int) -> None:
        """Let `calls` calls through, then fail `times` of them."""
        self.failed, self._before, self._times, self._error = 0, calls, times, error

    def heal(self) -> None:
        self._times = 0

    def touch(self) -> None:
        """Count one call that changes a file, and fail if it is time."""
        if self._before > 0:
            self._before -= 1
        elif self.failed < self._times:
            self.failed += 1
            raise self._error


class _FailingFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._disk = disk

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.touch()
        super().xWrite(data, offset)  # pyright: ignore[reportUnknownMemberType]  # apsw's Buffer

    def xSync(self, flags: int) -> None:
        self._disk.touch()
        super().xSync(flags)

    def xTruncate(self, newsize: int) -> None:
        self._disk.touch()
        super().xTruncate(newsize)


class _FailingVfs(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        super().__init__("failing", "unix", makedefault=True)
        self._disk = disk

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return _FailingFile(self._disk, name, flags)


@pytest.fixture
def disk() -> Iterator[Disk]:
    """Everything that is opened while the test runs is on this disk."""
    disk = Disk()
    vfs = _FailingVfs(disk)
    yield disk
    vfs.unregister()
