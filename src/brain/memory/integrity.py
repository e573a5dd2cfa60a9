"""Integrity: do rows, keyword index and vectors agree, and how either is made anew."""

from msgspec import Struct

from ..store.connection import Connection
from .shelves import SHELVES, Shelf
from .vectors import space_number


class Finding(Struct, frozen=True):
    """One store. All but `rows` and `waiting` are 0 where everything agrees.

    `waiting` rows are queued for their vector, which is no fault.
    """

    store: str
    rows: int
    waiting: int
    words_missing: int
    words_stray: int
    vectors_missing: int
    vectors_stray: int

    @property
    def sound(self) -> bool:
        """Whether everything agrees."""
        return not (
            self.words_missing or self.words_stray or self.vectors_missing or self.vectors_stray
        )


def check(connection: Connection, space: str) -> tuple[Finding, ...]:
    """Look at every store; `space` names the embedder in force."""
    number = space_number(connection, space)
    return tuple(_check(connection, shelf, number) for shelf in SHELVES)


def repair(connection: Connection, space: str) -> tuple[Finding, ...]:
    """Make anew what does not agree, from the rows; return what was found before."""
    found = check(connection, space)
    number = space_number(connection, space)
    for shelf, finding in zip(SHELVES, found, strict=True):
        if finding.words_missing or finding.words_stray:
            rebuild_words(connection, shelf)
        if finding.vectors_missing or finding.vectors_stray:
            rebuild_vectors(connection, shelf, number)
    return found


def rebuild_words(connection: Connection, shelf: Shelf) -> None:
    """Make the keyword index anew."""
    columns = ", ".join(shelf.columns)
    connection.execute(f"INSERT INTO {shelf.fts} ({shelf.fts}) VALUES ('delete-all')")
    connection.execute(
        f"INSERT INTO {shelf.fts} (rowid, {columns}) SELECT rowid, {columns} FROM {shelf.table}"
        " WHERE forgotten_at IS NULL ORDER BY rowid"
    )


def rebuild_vectors(connection: Connection, shelf: Shelf, space: int) -> None:
    """Drop vectors without a row, and queue the rows that lack theirs."""
    for table in (shelf.vectors, f"{shelf.vectors}_exact"):
        connection.execute(
            f"DELETE FROM {table} WHERE item NOT IN"
            f" (SELECT rowid FROM {shelf.table} WHERE forgotten_at IS NULL)"
        )
    connection.execute(
        f"INSERT OR IGNORE INTO embedding_queue SELECT '{shelf.name}', rowid"
        f" FROM {shelf.table} WHERE forgotten_at IS NULL AND rowid NOT IN ({_whole(shelf)})",
        (space,),
    )


def _check(connection: Connection, shelf: Shelf, space: int) -> Finding:
    live = f"SELECT rowid FROM {shelf.table} WHERE forgotten_at IS NULL"
    words = f"SELECT id FROM {shelf.fts}_docsize"
    vectors = f"SELECT item FROM {shelf.vectors} UNION SELECT item FROM {shelf.vectors}_exact"
    queued = f"SELECT item FROM embedding_queue WHERE store = '{shelf.name}'"

    def count(rows: str, *bindings: int) -> int:
        found = connection.execute(f"SELECT count(*) FROM ({rows})", bindings).fetchone()
        return int(found[0]) if found else 0

    return Finding(
        store=shelf.name,
        rows=count(live),
        waiting=count(queued),
        words_missing=count(f"{live} EXCEPT {words}"),
        words_stray=count(f"{words} EXCEPT {live}"),
        vectors_missing=count(
            f"SELECT * FROM ({live}) EXCEPT SELECT * FROM ({_whole(shelf)})"
            f" EXCEPT SELECT * FROM ({queued})",
            space,
        ),
        vectors_stray=count(f"SELECT * FROM ({vectors}) EXCEPT SELECT * FROM ({live})"),
    )


def _whole(shelf: Shelf) -> str:
    """Items that have both parts of their vector, in one space (one binding)."""
    return (
        f"SELECT coded.item FROM {shelf.vectors} AS coded"
        f" JOIN {shelf.vectors}_exact AS exact ON exact.item = coded.item WHERE coded.space = ?"
    )
