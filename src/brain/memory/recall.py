"""Recall: what long-term memory holds about a text, by keyword."""

import re
from dataclasses import dataclass
from typing import Final

from ..store.connection import Connection

WORDS: Final = 32
"""Words of the text that are searched for; the rest of a long message adds little but time."""

_WORD: Final = re.compile(r"\w{2,}")


@dataclass(frozen=True, slots=True)
class Recalled:
    """One memory. `score` is higher for a better match (negated bm25)."""

    store: str
    id: str
    score: float
    text: str


def recall(connection: Connection, text: str, limit: int) -> tuple[Recalled, ...]:
    """The memories that match best, best first; empty for a text without words."""
    query = fts_query(text)
    return _search(connection, query, limit) if query else ()


def fts_query(text: str) -> str:
    """An FTS5 query for any of the words of `text`; quoted, so no text is ever bad syntax."""
    words = dict.fromkeys(word.lower() for word in _WORD.findall(text))
    return " OR ".join(f'"{word}"' for word in list(words)[:WORDS])


def _search(connection: Connection, query: str, limit: int) -> tuple[Recalled, ...]:
    rows = connection.execute(
        "SELECT 'episodes', id, -bm25(episodes_fts),"
        " e.key || ': ' || e.description || ' ' || e.value FROM episodes_fts"
        " JOIN episodes AS e ON e.rowid = episodes_fts.rowid WHERE episodes_fts MATCH ?1"
        " UNION ALL"
        " SELECT 'knowledge', id, -bm25(knowledge_fts), k.subject || ': ' || k.content"
        " FROM knowledge_fts JOIN knowledge_store AS k ON k.rowid = knowledge_fts.rowid"
        " WHERE knowledge_fts MATCH ?1 AND k.valid_until IS NULL ORDER BY 3 DESC LIMIT ?2",
        (query, limit),
    )
    return tuple(Recalled(*row) for row in rows)
