"""Searching episodes: candidates by keyword and by vector, then one ranking over all of them."""

from dataclasses import dataclass
from typing import Final

from ..herald.embeddings import Vector
from ..store.connection import Connection
from .episode_ranking import REACH, WEIGHTS, Candidate, Weights, rank
from .episodes import Episode, by_rowid
from .vectors import VectorIndex
from .words import Query

POOL: Final = 32
"""Candidates that each list gives; their neighbours come along."""


@dataclass(frozen=True, slots=True)
class Sight:
    """The vector of a query, and the space it lives in."""

    space: int
    vector: Vector


@dataclass(frozen=True, slots=True)
class Hit:
    """An episode that was found. `score` is comparable within one search only."""

    episode: Episode
    score: float


def search(
    connection: Connection,
    query: Query,
    sight: Sight | None,
    index: VectorIndex,
    *,
    limit: int,
    now: int,
    weights: Weights = WEIGHTS,
) -> tuple[Hit, ...]:
    """The episodes that answer best, best first. Without `sight` by their words alone."""
    pool = max(POOL, limit)
    found = _by_words(connection, query, pool)
    cosines: dict[int, float] = {}
    if sight is not None:
        cosines = index.nearest(connection, sight.space, sight.vector, 4 * pool)
        found = found | set(list(cosines)[:pool])
    if not found:
        return ()
    candidates = _widened(found, REACH)
    rows = by_rowid(connection, sorted(_widened(candidates, REACH)))
    if sight is not None:
        unseen = [rowid for rowid in rows if rowid not in cosines]
        cosines |= index.estimates(sight.vector, unseen)
    lines = [Candidate(rowid, episode) for rowid, episode in rows.items()]
    scores = rank(query, lines, cosines, now, weights)
    best = sorted(
        (rowid for rowid in rows if rowid in candidates),
        key=lambda rowid: (-scores[rowid], -rowid),
    )
    return tuple(Hit(rows[rowid], round(scores[rowid], 6)) for rowid in best[:limit])


def _by_words(connection: Connection, query: Query, limit: int) -> set[int]:
    match = query.match()
    if not match:
        return set()
    rows = connection.execute(
        "SELECT rowid FROM episodes_fts WHERE episodes_fts MATCH ? ORDER BY rank LIMIT ?",
        (match, limit),
    )
    return {rowid for (rowid,) in rows}


def _widened(rowids: set[int], reach: int) -> set[int]:
    return {rowid + step for rowid in rowids for step in range(-reach, reach + 1)}
