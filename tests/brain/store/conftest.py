"""A brain on disk, a store that serves it, and a disk that fails on demand."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import apsw
import pytest

from september.actors.testing import running
from september.brain.store.brain_file import BrainFile
from september.brain.store.connection import Connection
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
        db = apsw.Connection(str(brain.path), apsw.SQLITE_OPEN_READONLY)
        try:
            assert db.pragma("integrity_check") == "ok"
            return [str(row[0]) for row in db.execute("SELECT key FROM brain_meta ORDER BY key")]
        finally:
            db.close()

    return read


class Disk:
    """A file system that fails at the n-th write, counted from `fail_at`."""

    def __init__(self) -> None:
        self.calls = 0
        self.failed = 0
        self._at: int | None = None
        self._error: Exception = apsw.FullError("injected")

    def fail_at(self, call: int, error: Exception) -> None:
        """Fail call number `call` from now (0 is the next) and, if full, all that follow."""
        self.calls, self.failed, self._at, self._error = 0, 0, call, error

    def heal(self) -> None:
        self._at = None

    def touch(self) -> None:
        """Count one call that changes a file, and fail if it is the one."""
        number, self.calls = self.calls, self.calls + 1
        if self._at is not None and number >= self._at:
            self.failed += 1
            raise self._error


class _FailingFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._disk = disk

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.touch()
        super().xWrite(data, offset)

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

    def xOpen(
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        return _FailingFile(self._disk, name, flags)


@contextmanager
def _failing_disk() -> Iterator[Disk]:
    disk = Disk()
    vfs = _FailingVfs(disk)
    try:
        yield disk
    finally:
        vfs.unregister()


@pytest.fixture
def disk() -> Iterator[Disk]:
    """Everything that is opened while the test runs is on this disk."""
    with _failing_disk() as disk:
        yield disk
