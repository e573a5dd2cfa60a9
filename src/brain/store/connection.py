"""What a transaction sees of its SQLite connection.

apsw.Connection fits it. Spelled out because apsw's own stubs use a type that strict checking on
Python 3.11 does not know, and because a transaction needs no more than this.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, cast

import apsw

Value: TypeAlias = "str | int | float | bytes | None"
Row: TypeAlias = tuple[Any, ...]  # the schema knows its columns; the checker cannot


class Cursor(Protocol):
    """The rows of a statement."""

    def __iter__(self) -> Iterator[Row]: ...

    def fetchone(self) -> Row | None:
        """The next row, or None."""
        ...

    def fetchall(self) -> list[Row]:
        """All remaining rows."""
        ...


class Connection(Protocol):
    """Runs statements inside the transaction that handed it out; not to be kept."""

    def execute(self, statements: str, bindings: Sequence[Value] | None = None, /) -> Cursor:
        """Run one or more statements; rows are read from the cursor."""
        ...

    def executemany(
        self, statements: str, sequenceofbindings: Iterable[Sequence[Value]], /
    ) -> Cursor:
        """Run a statement once for each sequence of bindings."""
        ...

    def changes(self) -> int:
        """Rows changed by the last statement."""
        ...


class Handle(Connection, Protocol):
    """A connection as its owner sees it: the store, a migration."""

    cursor_factory: Callable[[apsw.Connection], apsw.Cursor]

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    @property
    def system_errno(self) -> int:
        """The `errno` behind the last I/O error."""
        ...

    def close(self) -> None:
        """Close it; the last one to close a brain moves its log into the file."""
        ...

    def config(self, op: int, value: int, /) -> int:
        """Set one of SQLITE_DBCONFIG_*."""
        ...

    def enable_load_extension(self, enable: bool, /) -> None:
        """Allow or forbid `load_extension`."""
        ...

    def load_extension(self, filename: str, /) -> None:
        """Load a shared library into this connection."""
        ...

    def set_busy_timeout(self, milliseconds: int, /) -> None:
        """Wait that long for a lock."""
        ...

    def set_commit_hook(self, callable: Callable[[], bool] | None, /) -> None:  # noqa: A002  apsw's
        """Ask before each commit; True, or an exception, makes it a rollback."""
        ...

    def table_exists(self, dbname: str | None, table_name: str, /) -> bool:
        """Whether there is such a table."""
        ...


class AsyncHandle(Protocol):
    """A connection seen from outside its thread."""

    async def async_run(self, call: Callable[..., Any], /, *args: object) -> Any:
        """Run `call` in the thread."""
        ...

    async def aclose(self) -> None:
        """Close the connection and end its thread."""
        ...


_READ_WRITE: Final = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE


def connect(path: Path, *, read_only: bool = False) -> Handle:
    """Open `path` in this thread. SQLite does not look at the file before the first statement."""
    flags = apsw.SQLITE_OPEN_READONLY if read_only else _READ_WRITE
    return cast("Handle", apsw.Connection(str(path), flags))


async def connect_in_thread(path: Path) -> AsyncHandle:
    """Open `path` in a thread of its own."""
    return cast("AsyncHandle", await apsw.Connection.as_async(str(path)))
