"""The social graph: people and things, and how they stand to each other over time."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import msgspec

from ..store.connection import Connection
from .episodes import Origin

_NODE: Final = "n.id, n.name, n.kind, n.description, n.source, n.created_at"


class Node(msgspec.Struct, frozen=True):
    """A person, place or thing. Times are milliseconds (UTC)."""

    id: str
    name: str
    kind: str
    description: str
    source: str
    created_at: int


class Edge(msgspec.Struct, frozen=True):
    """How one node stands to another. It holds until `valid_until`; None: it still does."""

    id: str
    from_id: str
    to_id: str
    relation: str
    confidence: float
    source: str
    valid_from: int
    valid_until: int | None
    created_at: int


def write_node(
    connection: Connection,
    name: str,
    *,
    now: int,
    kind: str = "person",
    description: str = "",
    source: str = "user",
    origin: Origin | None = None,
) -> str:
    """Know a node by its name, whatever its case; return its id. A description is added to it."""
    node_id = f"node-{_digest(name.casefold())}"
    known = connection.execute(
        "SELECT description FROM social_graph_nodes WHERE id = ?", (node_id,)
    ).fetchone()
    if known is None:
        connection.execute(
            "INSERT INTO social_graph_nodes (id, name, kind, description, source, created_at,"
            " trajectory_id, trace_id, pass_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (node_id, name, kind, description, source, now, *cited(origin)),
        )
        return node_id
    text = str(known[0])
    if description and description not in text:
        text = f"{text}; {description}" if text else description
    connection.execute(
        "UPDATE social_graph_nodes SET description = ?, forgotten_at = NULL WHERE id = ?"
        " AND (description != ? OR forgotten_at IS NOT NULL)",
        (text, node_id, text),
    )
    return node_id


def write_edge(
    connection: Connection,
    from_id: str,
    to_id: str,
    relation: str,
    *,
    now: int,
    confidence: float = 0.8,
    source: str = "user",
    valid_from: int | None = None,
    origin: Origin | None = None,
) -> str:
    """Know a relation; saying it again changes nothing, or opens it again. Return its id."""
    edge_id = f"edge-{_digest(from_id, relation.casefold(), to_id)}"
    connection.execute(
        "INSERT INTO social_graph_edges (id, from_id, to_id, relation, confidence, source,"
        " valid_from, created_at, trajectory_id, trace_id, pass_id)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET valid_until = NULL, forgotten_at = NULL,"
        " pass_id = excluded.pass_id"
        " WHERE valid_until IS NOT NULL OR forgotten_at IS NOT NULL",
        (
            *(edge_id, from_id, to_id, relation, confidence, source),
            *(now if valid_from is None else valid_from, now, *cited(origin)),
        ),
    )
    return edge_id


def nodes_by_rowid(connection: Connection, rowids: Sequence[int]) -> dict[int, Node]:
    """The nodes of these rows that are not forgotten."""
    rows = connection.execute(
        f"SELECT n.rowid, {_NODE} FROM social_graph_nodes AS n WHERE n.forgotten_at IS NULL"
        " AND n.rowid IN (SELECT value FROM json_each(?))",
        (msgspec.json.encode(list(rowids)).decode(),),
    )
    return {row[0]: Node(*row[1:]) for row in rows}


def edges_of(connection: Connection, node_ids: Sequence[str], now: int) -> tuple[Edge, ...]:
    """The relations in force that touch any of these nodes, surest first."""
    wanted = msgspec.json.encode(list(node_ids)).decode()
    rows = connection.execute(
        "SELECT id, from_id, to_id, relation, confidence, source, valid_from, valid_until,"
        " created_at FROM social_graph_edges WHERE forgotten_at IS NULL AND valid_from <= ?2"
        " AND (valid_until IS NULL OR valid_until > ?2)"
        " AND (from_id IN (SELECT value FROM json_each(?1))"
        " OR to_id IN (SELECT value FROM json_each(?1))) ORDER BY confidence DESC, id",
        (wanted, now),
    )
    return tuple(Edge(*row) for row in rows)


def rowids_of(connection: Connection, node_ids: Sequence[str]) -> dict[str, int]:
    """The row numbers of nodes."""
    rows = connection.execute(
        "SELECT id, rowid FROM social_graph_nodes WHERE forgotten_at IS NULL"
        " AND id IN (SELECT value FROM json_each(?))",
        (msgspec.json.encode(list(node_ids)).decode(),),
    )
    return {node_id: rowid for node_id, rowid in rows}


def cited(origin: Origin | None) -> tuple[str | None, str | None, str | None]:
    """The columns trajectory_id, trace_id and pass_id."""
    if origin is None:
        return None, None, None
    return origin.trajectory_id, origin.trace_id, origin.pass_id


def _digest(*parts: str) -> str:
    return sha256(msgspec.json.encode(parts)).hexdigest()[:32]
