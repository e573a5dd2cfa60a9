"""The file index in the brain: which files are known, their chunks, and the chunks' vectors."""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from ..clock import now_ms
from ..herald.embeddings import Vector
from ..memory.vectors import put
from ..store.connection import Connection
from .walk import ReadFile, Stamp

VECTORS: Final = "file_chunks_vec"


class Standing(Struct, frozen=True):
    """What the index holds below some folders: files, and how many are left out, by reason."""

    files: int
    skipped: Mapping[str, int]


def below(folder: str) -> tuple[str, str]:
    """The range of paths below a folder: from the first, up to and without the second."""
    plain = folder.rstrip("/")
    return f"{plain}/", f"{plain}0"  # "0" is what follows "/"


def known(connection: Connection, root: str) -> dict[str, Stamp]:
    """The files of a root that the index knows."""
    rows = connection.execute(
        "SELECT path, size, mtime_ns FROM indexed_files WHERE path >= ? AND path < ?", below(root)
    )
    return {path: Stamp(size, mtime_ns) for path, size, mtime_ns in rows}


def keep(connection: Connection, files: Sequence[ReadFile]) -> None:
    """Keep files as they are now; one whose content is the same only gets its new stamp."""
    for file in files:
        connection.execute(
            "UPDATE indexed_files SET size = ?, mtime_ns = ?, indexed_at = ?"
            " WHERE path = ? AND hash = ? AND hash != '' AND skipped IS ?",
            (
                file.stamp.size, file.stamp.mtime_ns, now_ms(), file.path, file.hash, file.skipped,
            ),
        )  # fmt: skip
        if not connection.changes():
            _replace(connection, file)


def _replace(connection: Connection, file: ReadFile) -> None:
    connection.execute("DELETE FROM indexed_files WHERE path = ?", (file.path,))
    found = connection.execute(
        "INSERT INTO indexed_files (path, size, mtime_ns, hash, skipped, indexed_at)"
        " VALUES (?, ?, ?, ?, ?, ?) RETURNING file_id",
        (
            file.path, file.stamp.size, file.stamp.mtime_ns, file.hash, file.skipped, now_ms(),
        ),
    ).fetchone()  # fmt: skip
    assert found is not None
    connection.executemany(
        "INSERT INTO file_chunks (file_id, path, first_line, last_line, text)"
        " VALUES (?, ?, ?, ?, ?)",
        [(found[0], file.path, one.first_line, one.last_line, one.text) for one in file.chunks],
    )


def forget(connection: Connection, paths: Sequence[str]) -> None:
    """Files that are gone leave the index."""
    connection.executemany("DELETE FROM indexed_files WHERE path = ?", [(path,) for path in paths])


def without_vector(connection: Connection, space: int, limit: int) -> dict[int, str]:
    """Chunks that have no vector in this space, latest first, and the text to embed."""
    rows = connection.execute(
        "SELECT chunk_id, path, text FROM file_chunks LEFT JOIN file_chunks_vec AS coded"
        " ON coded.item = chunk_id AND coded.space = ? WHERE coded.item IS NULL"
        " ORDER BY chunk_id DESC LIMIT ?",
        (space, limit),
    )
    return {chunk_id: f"{path.rpartition('/')[2]}\n{text}" for chunk_id, path, text in rows}


def settle(connection: Connection, space: int, vectors: Mapping[int, Vector]) -> None:
    """Keep the vectors of chunks that are still there."""
    alive = {
        item: vector
        for item, vector in vectors.items()
        if connection.execute("SELECT 1 FROM file_chunks WHERE chunk_id = ?", (item,)).fetchone()
    }
    if alive:
        put(connection, VECTORS, space, alive)


def standing(connection: Connection, folders: Sequence[str]) -> Standing:
    """What the index holds below these folders."""
    files, skipped = 0, dict[str, int]()
    for folder in folders:
        rows = connection.execute(
            "SELECT skipped, count(*) FROM indexed_files WHERE path >= ? AND path < ?"
            " GROUP BY skipped",
            below(folder),
        )
        for reason, count in rows:
            files += count
            if reason is not None:
                skipped[reason] = skipped.get(reason, 0) + count
    return Standing(files, skipped)
