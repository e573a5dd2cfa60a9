"""Episodes: what happened, as it is remembered."""

from dataclasses import dataclass

from ..store.connection import Connection
from .recall import fts_query


@dataclass(frozen=True, slots=True)
class Episode:
    """One remembered event. `source` says where it comes from; times are milliseconds (UTC)."""

    id: str
    key: str
    description: str
    value: str
    source: str
    occurred_at: int
    created_at: int


def write(connection: Connection, episode: Episode) -> None:
    """Remember it. Writing the same id again changes nothing."""
    connection.execute(
        "INSERT OR IGNORE INTO episodes"
        " (id, key, description, value, source, occurred_at, created_at)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (
            *(episode.id, episode.key, episode.description, episode.value),
            *(episode.source, episode.occurred_at, episode.created_at),
        ),
    )


def search(connection: Connection, query: str, limit: int) -> tuple[Episode, ...]:
    """The episodes that share words with `query`, best match (bm25) first."""
    words = fts_query(query)
    if not words:
        return ()
    rows = connection.execute(
        "SELECT e.id, e.key, e.description, e.value, e.source, e.occurred_at, e.created_at"
        " FROM episodes_fts JOIN episodes AS e ON e.rowid = episodes_fts.rowid"
        " WHERE episodes_fts MATCH ?1 ORDER BY bm25(episodes_fts), e.rowid DESC LIMIT ?2",
        (words, limit),
    )
    return tuple(Episode(*row) for row in rows)
