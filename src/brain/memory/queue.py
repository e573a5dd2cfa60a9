"""The queue of rows that wait for their vector: written with the row, emptied with the vector."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from ..herald.embeddings import Vector
from ..store.connection import Connection
from .shelves import SHELVES, Shelf
from .vectors import made_space, put

_SPACE: Final = "embedding_space"


class Batch(Struct, frozen=True):
    """Rows of one store and their texts, by row number."""

    shelf: Shelf
    texts: Mapping[int, str]


class Progress(Struct, frozen=True):
    """How far the vectors are: `pending` of `total` rows still wait; `space` is the embedder's."""

    space: str
    total: int
    pending: int


def enter_space(connection: Connection, name: str) -> int:
    """Make `name` the space in force and return its number.

    Where the brain was filled by another embedder every row is queued again. Until its turn has
    come a row is found by its words.
    """
    space = made_space(connection, name)
    known = connection.execute("SELECT value FROM brain_meta WHERE key = ?", (_SPACE,)).fetchone()
    if known is not None and known[0] != name:
        for shelf in SHELVES:
            connection.execute(
                f"INSERT OR IGNORE INTO embedding_queue SELECT '{shelf.name}', rowid"
                f" FROM {shelf.table} WHERE forgotten_at IS NULL"
            )
    connection.execute(
        "INSERT INTO brain_meta (key, value) VALUES (?1, ?2)"
        " ON CONFLICT (key) DO UPDATE SET value = ?2 WHERE value != ?2",
        (_SPACE, name),
    )
    return space


def next_batch(connection: Connection, limit: int) -> Batch | None:
    """Up to `limit` rows of one store that wait, the latest first; None when none does."""
    for shelf in SHELVES:
        columns = ", ".join(f"r.{column}" for column in shelf.columns)
        rows = connection.execute(
            f"SELECT r.rowid, {columns} FROM embedding_queue AS q JOIN {shelf.table} AS r"
            " ON r.rowid = q.item WHERE q.store = ? ORDER BY q.item DESC LIMIT ?",
            (shelf.name, limit),
        ).fetchall()
        if rows:
            return Batch(shelf, {row[0]: shelf.text(*row[1:]) for row in rows})
    return None


def settle(connection: Connection, batch: Batch, space: int, vectors: Mapping[int, Vector]) -> None:
    """Keep the vectors of those rows that still say what was embedded; the rest wait on."""
    shelf = batch.shelf
    columns = ", ".join(shelf.columns)
    kept: dict[int, Vector] = {}
    for item, vector in vectors.items():
        row = connection.execute(
            f"SELECT {columns} FROM {shelf.table} WHERE rowid = ? AND forgotten_at IS NULL",
            (item,),
        ).fetchone()
        if row is not None and shelf.text(*row) == batch.texts[item]:
            kept[item] = vector
    if kept:
        put(connection, shelf.vectors, space, kept)
    connection.executemany(
        "DELETE FROM embedding_queue WHERE store = ? AND item = ?",
        [(shelf.name, item) for item in kept],
    )


def progress(connection: Connection, space: str) -> Progress:
    """How far the vectors are."""
    waiting = connection.execute("SELECT count(*) FROM embedding_queue").fetchone()
    total = sum(shelf.size(connection) for shelf in SHELVES)
    return Progress(space, total, int(waiting[0]) if waiting else 0)
