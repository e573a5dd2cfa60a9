"""Media in the brain: the bytes, once for each task, and the text that was taken out of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import msgspec

from ...errors import SchemaViolation
from ..clock import now_ms
from ..herald.conversation import MediaBlock
from ..store.connection import Connection


@dataclass(frozen=True, slots=True)
class MediaItem:
    """One attachment to be kept."""

    media_id: str
    media_type: str
    data: bytes = field(repr=False)


class StoredMedia(msgspec.Struct, frozen=True):
    """What is known of an attachment. `refused` has a reason for each provider that refused it.

    `pages` is None until its text has been taken out; `problem` says what is missing of it.
    """

    media_id: str
    task_id: str
    media_type: str
    size: int
    refused: dict[str, str]
    pages: int | None
    problem: str


class Chunk(msgspec.Struct, frozen=True):
    """A piece of an attachment's text; `label` says where it stands."""

    position: int
    label: str
    text: str


def item_of(task_id: str, media_type: str, data: bytes) -> MediaItem:
    """An attachment under its id: the same one, attached twice to a task, is kept once."""
    digest = sha256(b"\0".join((task_id.encode(), media_type.encode(), data))).hexdigest()
    return MediaItem(f"media-{digest[:32]}", media_type, data)


def keep(connection: Connection, task_id: str, items: Sequence[MediaItem]) -> None:
    """Keep attachments of a task; those that it has already stay as they are."""
    connection.executemany(
        "INSERT OR IGNORE INTO media (media_id, task_id, media_type, data, refused, created_at)"
        " VALUES (?, ?, ?, ?, '{}', ?)",
        [(one.media_id, task_id, one.media_type, one.data, now_ms()) for one in items],
    )


def as_column(blocks: Sequence[MediaBlock]) -> str | None:
    """Blocks as a column holds them: JSON, or NULL where there are none."""
    return msgspec.json.encode(blocks).decode() if blocks else None


def of_column(stored: str | None) -> tuple[MediaBlock, ...]:
    """The blocks that a column holds."""
    return msgspec.json.decode(stored or "[]", type=tuple[MediaBlock, ...])


def find(connection: Connection, media_id: str) -> StoredMedia | None:
    """What is known of an attachment, without its bytes."""
    row = connection.execute(
        "SELECT media_id, task_id, media_type, length(data), refused, pages, problem"
        " FROM media WHERE media_id = ?",
        (media_id,),
    ).fetchone()
    if row is None:
        return None
    known, task_id, media_type, size, refused, pages, problem = row
    reasons = msgspec.json.decode(refused, type=dict[str, str])
    return StoredMedia(known, task_id, media_type, size, reasons, pages, problem or "")


def of_task(connection: Connection, task_id: str, media_id: str, field: str) -> StoredMedia:
    """An attachment that a task has. Raises SchemaViolation naming `field` when it has not."""
    found = find(connection, media_id)
    if found is None or found.task_id != task_id:
        raise SchemaViolation(
            f"{field}: task {task_id!r} holds no {media_id!r}; send the media themselves",
            {"field": field, "media_id": media_id},
        )
    return found


def data_of(connection: Connection, media_id: str) -> bytes | None:
    """The bytes of an attachment; None when it is gone."""
    row = connection.execute("SELECT data FROM media WHERE media_id = ?", (media_id,)).fetchone()
    return bytes(row[0]) if row is not None else None


def refuse(connection: Connection, media_ids: Sequence[str], provider: str, reason: str) -> None:
    """Note that a provider does not take these."""
    connection.executemany(
        "UPDATE media SET refused = json_set(refused, '$.' || ?, ?) WHERE media_id = ?",
        [(provider, reason, media_id) for media_id in media_ids],
    )


def keep_text(
    connection: Connection, media_id: str, chunks: Sequence[Chunk], pages: int, problem: str
) -> None:
    """Keep the text of an attachment; doing it twice is the same as doing it once."""
    connection.execute(
        "UPDATE media SET pages = ?, problem = ? WHERE media_id = ? AND pages IS NULL",
        (pages, problem, media_id),
    )
    if connection.changes():
        connection.executemany(
            "INSERT INTO ingestion_chunks (media_id, position, label, text) VALUES (?, ?, ?, ?)",
            [(media_id, chunk.position, chunk.label, chunk.text) for chunk in chunks],
        )


def chunks_of(connection: Connection, media_id: str, first: int, count: int) -> tuple[Chunk, ...]:
    """Up to `count` chunks from position `first` (from 1) on."""
    rows = connection.execute(
        "SELECT position, label, text FROM ingestion_chunks"
        " WHERE media_id = ? AND position >= ? ORDER BY position LIMIT ?",
        (media_id, first, count),
    )
    return tuple(Chunk(*row) for row in rows)


def size_of_text(connection: Connection, media_id: str) -> tuple[int, int]:
    """Chunks and characters of an attachment's text."""
    row = connection.execute(
        "SELECT count(*), coalesce(sum(length(text)), 0) FROM ingestion_chunks WHERE media_id = ?",
        (media_id,),
    ).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def search(
    connection: Connection, media_id: str, match: str, limit: int
) -> tuple[tuple[Chunk, str], ...]:
    """The chunks that match an FTS5 query best, each with a snippet."""
    rows = connection.execute(
        "SELECT position, label, chunk.text, snippet(ingestion_fts, 0, '', '', ' … ', 40)"
        " FROM ingestion_fts JOIN ingestion_chunks AS chunk ON chunk_id = ingestion_fts.rowid"
        " WHERE ingestion_fts MATCH ? AND media_id = ? ORDER BY rank LIMIT ?",
        (match, media_id, limit),
    )
    return tuple((Chunk(position, label, text), snippet) for position, label, text, snippet in rows)
