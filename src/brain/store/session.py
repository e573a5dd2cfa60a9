"""A session: one connection to the brain, and the thread in which alone it is used."""

import math
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import Final, TypeVar, cast

import apsw
import apsw.aio
import trio

from ...errors import ConfigError
from .brain_file import BrainFile
from .connection import AsyncHandle, Handle, connect_in_thread
from .transactions import Transactions

T = TypeVar("T")

BUSY_TIMEOUT_MS: Final = 5_000
"""How long to wait for a lock that another program holds."""

_STEPS_BETWEEN_CHECKS: Final = 20_000
"""Virtual machine steps after which a statement notices its cancellation: 1 to 6 ms."""

_WAL_LIMIT: Final = 64 * 2**20
"""Bytes to which the write-ahead log is cut back once a long read no longer holds it."""


class Role(Enum):
    """What a connection is for; the value is its page cache in KiB."""

    WRITER = 8192
    READER = 4096


class Session:
    """A connection with its own thread. Close it: its thread keeps the process alive."""

    transactions: Transactions
    """To be used in the thread only: inside `run`."""

    def __init__(self, db: AsyncHandle, thread: threading.Thread) -> None:
        self._db = db
        self._thread = thread

    @classmethod
    async def open(cls, brain: BrainFile, role: Role) -> "Session":
        """Open the brain; raises what SQLite raises."""
        session = cls(*await _connect(brain.path))
        try:
            await session.run(lambda db: configure(db, role))
            session.transactions = await session.run(lambda db: Transactions(db, brain))
        except BaseException:
            await session.close()
            raise
        return session

    async def run(self, work: Callable[[Handle], T]) -> T:
        """Run `work` in the thread.

        Cancelled, it interrupts the statement that runs, and returns when `work` has ended: the
        session is always idle afterwards.
        """
        with _holding(apsw.aio.deadline, math.inf):  # cancellation is all we heed
            try:
                return cast("T", await self._db.async_run(work, self._db))
            except trio.Cancelled:
                with trio.CancelScope(shield=True):
                    await self._db.async_run(_nothing)
                raise

    async def close(self) -> None:
        """Close the connection and end its thread, also when cancelled."""
        with (
            trio.CancelScope(shield=True),
            _holding(apsw.aio.deadline, math.inf),
            suppress(apsw.Error),  # closed all the same: what failed was tidying the log away
        ):
            await self._db.aclose()
        self._thread.join()  # it has only to return


async def _connect(path: Path) -> tuple[AsyncHandle, threading.Thread]:
    with (
        trio.CancelScope(shield=True),  # cancelled half-way, the thread would stay for ever
        _holding(apsw.aio.check_progress_steps, _STEPS_BETWEEN_CHECKS),
    ):
        db = await connect_in_thread(path)
        return db, await db.async_run(threading.current_thread)
    raise AssertionError("nobody cancels this scope")


def configure(db: Handle, role: Role) -> None:
    """Set up a fresh connection; the file itself is not changed."""
    db.set_busy_timeout(BUSY_TIMEOUT_MS)
    db.enable_load_extension(True)
    db.load_extension(_vector_extension())
    db.enable_load_extension(False)
    db.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)  # "x" is a name, never a text
    db.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA cell_size_check = ON")
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute(f"PRAGMA cache_size = -{role.value}")
    db.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
    if role is Role.READER:
        db.execute("PRAGMA query_only = ON")


def _vector_extension() -> str:
    """Find the library of sqlite-vec without importing its package, which would import numpy."""
    package = find_spec("sqlite_vec")
    if package is None or package.origin is None:
        raise ConfigError("sqlite-vec", "is not installed; install the Engine again")
    return str(Path(package.origin).with_name("vec0"))


def _nothing() -> None:
    """Reached when all that was asked of the thread before has ended."""


@contextmanager
def _holding(variable: ContextVar[T], value: T) -> Generator[None, None, None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
