"""What a transaction sees of its SQLite connection.

apsw.Connection fits it. Spelled out because apsw's own stubs use a type that strict checking on
Python 3.11 does not know, and because a transaction needs no more than this.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias

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
