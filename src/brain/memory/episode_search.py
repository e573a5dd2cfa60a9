"""Searching episodes: candidates by keyword and by vector, then one ranking over all of them."""

from typing import Final

from msgspec import Struct

from ..store.connection import Connection
from .episode_ranking import REACH, WEIGHTS, Weights, rank
from .episodes import Episode, by_rowid, lines
from .vectors import Sight, VectorIndex
from .words import Query

POOL: Final = 20
"""Candidates that each list gives; their neighbours come along."""


class Hit(Struct, frozen=True):
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
    view = index.seen(connection, sight) if sight is not None else None
    near = view.nearest(connection, pool) if view is not None else {}
    found = _by_words(connection, query, pool) | near.keys()
    candidates = _widened(found, REACH)
    rows = lines(connection, _widened(candidates, REACH))
    if not rows:
        return ()
    unseen = [line.rowid for line in rows if line.rowid not in near]
    cosines = near | view.cosines(connection, unseen) if view is not None else {}
    scores = rank(query, rows, cosines, now, weights)
    best = sorted(candidates & scores.keys(), key=lambda rowid: (-scores[rowid], -rowid))[:limit]
    episodes = by_rowid(connection, best)
    return tuple(Hit(episodes[rowid], round(scores[rowid], 6)) for rowid in best)


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
