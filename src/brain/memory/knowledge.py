"""Knowledge: facts with a confidence and the time they hold."""

from dataclasses import dataclass

from ..store.connection import Connection
from .recall import fts_query


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is known. `confidence` is 0..1; `source` cites where it was learned.

    It holds from `valid_from` until before `valid_until` (milliseconds, UTC); None: it still does.
    """

    id: str
    subject: str
    content: str
    type: str
    confidence: float
    source: str
    valid_from: int
    valid_until: int | None
    created_at: int


def add(connection: Connection, fact: Fact) -> None:
    """Know it. Adding the same id again changes nothing."""
    connection.execute(
        "INSERT OR IGNORE INTO knowledge_store (id, subject, content, type, confidence, source,"
        " valid_from, valid_until, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        (
            *(fact.id, fact.subject, fact.content, fact.type, fact.confidence, fact.source),
            *(fact.valid_from, fact.valid_until, fact.created_at),
        ),
    )


def search(connection: Connection, query: str, limit: int, now: int) -> tuple[Fact, ...]:
    """The facts in force at `now` that share words with `query`, best match (bm25) first."""
    words = fts_query(query)
    if not words:
        return ()
    rows = connection.execute(
        "SELECT k.id, k.subject, k.content, k.type, k.confidence, k.source, k.valid_from,"
        " k.valid_until, k.created_at FROM knowledge_fts"
        " JOIN knowledge_store AS k ON k.rowid = knowledge_fts.rowid"
        " WHERE knowledge_fts MATCH ?1 AND k.valid_from <= ?2"
        " AND (k.valid_until IS NULL OR k.valid_until > ?2)"
        " ORDER BY bm25(knowledge_fts), k.rowid DESC LIMIT ?3",
        (words, now, limit),
    )
    return tuple(Fact(*row) for row in rows)
