"""Searching knowledge and the social graph: lists by keyword and by vector, fused by rank."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from ..store.connection import Connection
from . import knowledge, social
from .knowledge import Fact
from .social import Edge, Node
from .vectors import Sight, VectorIndex
from .words import Query

POOL: Final = 100
"""Candidates that each list gives."""

RANK: Final = 60
"""How slowly a list's say falls with the rank (Cormack et al., SIGIR 2009)."""

HOP: Final = 0.5
"""What a node's neighbour in the graph gets of its score."""

NEAR_ENOUGH: Final = 0.25
"""Least cosine with which a memory that shares no word with the query is a candidate."""


class FactHit(Struct, frozen=True):
    """A fact that was found."""

    fact: Fact
    score: float


class NodeHit(Struct, frozen=True):
    """A node that was found, with its edges in force."""

    node: Node
    edges: tuple[Edge, ...]
    score: float


def search_knowledge(
    connection: Connection,
    query: Query,
    sight: Sight | None,
    index: VectorIndex,
    *,
    limit: int,
    now: int,
    history: bool = False,
) -> tuple[FactHit, ...]:
    """The facts that answer best; surer ones before less sure ones of the same rank."""
    scores = _fused(connection, "knowledge_fts", query, sight, index)
    facts = knowledge.by_rowid(connection, list(scores), now, history=history)
    held = {rowid: scores[rowid] * (0.5 + fact.confidence / 2) for rowid, fact in facts.items()}
    best = sorted(held, key=lambda rowid: (-held[rowid], -rowid))[:limit]
    return tuple(FactHit(facts[rowid], round(held[rowid], 6)) for rowid in best)


def search_social(
    connection: Connection,
    query: Query,
    sight: Sight | None,
    index: VectorIndex,
    *,
    limit: int,
    now: int,
) -> tuple[NodeHit, ...]:
    """The nodes that answer best and those they are tied to, with their edges."""
    scores = _fused(connection, "social_fts", query, sight, index)
    nodes = social.nodes_by_rowid(connection, list(scores))
    ties = social.edges_of(connection, [node.id for node in nodes.values()], now)
    spread = _spread({node.id: scores[rowid] for rowid, node in nodes.items()}, ties)
    rowids = social.rowids_of(connection, list(spread))
    found = {
        node.id: node for node in social.nodes_by_rowid(connection, list(rowids.values())).values()
    }
    best = sorted(found, key=lambda node_id: (-spread[node_id], node_id))[:limit]
    edges = social.edges_of(connection, best, now)
    return tuple(
        NodeHit(found[node_id], _touching(edges, node_id), round(spread[node_id], 6))
        for node_id in best
    )


def _fused(
    connection: Connection,
    table: str,
    query: Query,
    sight: Sight | None,
    index: VectorIndex,
) -> dict[int, float]:
    match = query.match()
    by_words: list[int] = []
    if match:
        rows = connection.execute(
            f"SELECT rowid FROM {table} WHERE {table} MATCH ? ORDER BY rank LIMIT ?", (match, POOL)
        )
        by_words = [rowid for (rowid,) in rows]
    near: list[int] = []
    if sight is not None:
        cosines = index.seen(connection, sight).nearest(connection, POOL)
        near = [rowid for rowid, cosine in cosines.items() if cosine >= NEAR_ENOUGH]
    return by_rank((by_words, near))


def by_rank(lists: Iterable[Sequence[int]]) -> dict[int, float]:
    """Reciprocal rank fusion, scaled so that the first of every list scores 1."""
    scores: dict[int, float] = {}
    weight = (RANK + 1) / 2
    for ranked in lists:
        for place, rowid in enumerate(ranked, 1):
            scores[rowid] = scores.get(rowid, 0.0) + weight / (RANK + place)
    return scores


def _spread(scores: Mapping[str, float], ties: Iterable[Edge]) -> dict[str, float]:
    """One hop along the edges: who stands next to a match is found with it."""
    spread = dict(scores)
    for edge in ties:
        for here, there in ((edge.from_id, edge.to_id), (edge.to_id, edge.from_id)):
            handed = scores.get(here, 0.0) * HOP * edge.confidence
            spread[there] = max(spread.get(there, 0.0), handed)
    return spread


def _touching(edges: Iterable[Edge], node_id: str) -> tuple[Edge, ...]:
    return tuple(edge for edge in edges if node_id in (edge.from_id, edge.to_id))
