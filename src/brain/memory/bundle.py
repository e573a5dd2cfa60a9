"""Export and import: all of memory as one JSON document, and back.

Vectors are not part of it: they follow from the texts, whichever embedder the other brain has.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from ..catalog import Skill
from ..catalog.skills import flaw
from ..clock import EARLIEST_MS, LATEST_MS
from ..skills import rows as skills
from ..store.connection import Connection

VERSION: Final = 1

Confidence: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Id: TypeAlias = Annotated[str, Meta(min_length=1)]
Time: TypeAlias = Annotated[int, Meta(ge=EARLIEST_MS, le=LATEST_MS)]


class _Row(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row, its columns by name. Times are milliseconds since the epoch (UTC)."""

    id: Id
    source: str
    created_at: Time
    trajectory_id: str | None = None
    trace_id: str | None = None
    pass_id: str | None = None


class EpisodeRow(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row of `episodes`."""

    key: str
    description: str
    value: str
    occurred_at: Time
    forgotten_at: Time | None = None


class KnowledgeRow(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row of `knowledge_store`."""

    subject: str
    content: str
    type: str
    confidence: Confidence
    valid_from: Time
    valid_until: Time | None = None
    confirmed_at: Time
    superseded_by: str | None = None
    forgotten_at: Time | None = None


class SourceRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A further source of a fact."""

    knowledge_id: Id
    source: str
    added_at: Time


class NodeRow(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row of `social_graph_nodes`."""

    name: str
    kind: str
    description: str
    forgotten_at: Time | None = None


class EdgeRow(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row of `social_graph_edges`."""

    from_id: Id
    to_id: Id
    relation: str
    confidence: Confidence
    valid_from: Time
    valid_until: Time | None = None
    forgotten_at: Time | None = None


class SoulRow(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row of `soul_entries`."""

    part: Literal["identity", "value", "pattern"]
    text: str
    retired_at: Time | None = None


class Bundle(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of memory, and the user's skills. Rows stand in the order they were written, which
    search goes by.
    """

    format: Literal["september-memory"] = "september-memory"
    version: Literal[1] = 1
    episodes: tuple[EpisodeRow, ...] = ()
    knowledge: tuple[KnowledgeRow, ...] = ()
    knowledge_sources: tuple[SourceRow, ...] = ()
    social_nodes: tuple[NodeRow, ...] = ()
    social_edges: tuple[EdgeRow, ...] = ()
    soul: tuple[SoulRow, ...] = ()
    skills: tuple[Skill, ...] = ()


_TABLES: Final[Sequence[tuple[str, str, type[Struct], str]]] = (
    ("episodes", "episodes", EpisodeRow, "rowid"),
    ("knowledge", "knowledge_store", KnowledgeRow, "rowid"),
    ("knowledge_sources", "knowledge_sources", SourceRow, "knowledge_id, added_at, source"),
    ("social_nodes", "social_graph_nodes", NodeRow, "rowid"),
    ("social_edges", "social_graph_edges", EdgeRow, "created_at, id"),
    ("soul", "soul_entries", SoulRow, "created_at, id"),
)
"""Part of the document, its table, its row, and the order; nodes come before their edges."""


class Merged(Struct, frozen=True):
    """What an import did to one part: rows added, and rows whose id was there already."""

    added: int
    kept: int


def export(connection: Connection) -> Bundle:
    """All of memory, tombstones and history included, from one snapshot."""
    parts: dict[str, object] = {}
    for part, table, kind, order in _TABLES:
        names = kind.__struct_fields__
        rows = connection.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY {order}")
        parts[part] = tuple(kind(**dict(zip(names, row, strict=True))) for row in rows)
    return msgspec.structs.replace(Bundle(), **parts, skills=skills.every(connection))


def merge(
    connection: Connection, bundle: Bundle, told: Callable[[str, int], None] | None = None
) -> dict[str, Merged]:
    """Add every row whose id is not there yet; in the caller's transaction, so all or nothing.

    `told` hears of each part that is done and its number of rows.
    """
    counts: dict[str, Merged] = {}
    for part, table, kind, _ in _TABLES:
        rows: tuple[Struct, ...] = getattr(bundle, part)
        names = kind.__struct_fields__
        before = _count(connection, table)
        connection.executemany(
            f"INSERT OR IGNORE INTO {table} ({', '.join(names)})"
            f" VALUES ({', '.join('?' * len(names))})",
            [msgspec.structs.astuple(row) for row in rows],
        )
        added = _count(connection, table) - before
        counts[part] = Merged(added, len(rows) - added)
        if told is not None:
            told(part, len(rows))
    new = sum(skills.add(connection, skill) for skill in bundle.skills)
    counts["skills"] = Merged(new, len(bundle.skills) - new)
    return counts


def flawed(bundle: Bundle) -> tuple[str, str] | None:
    """The place of a row that cannot be imported and why, or None."""
    for place, skill in enumerate(bundle.skills):
        wrong = flaw(skill)
        if wrong is not None:
            return f"skills[{place}].{wrong[0]}", wrong[1]
    lost = _dangling(bundle)
    return (lost, "names a row that the document does not have") if lost else None


def _dangling(bundle: Bundle) -> str | None:
    """Where a row refers to a row that the document lacks, or None."""
    nodes = {node.id for node in bundle.social_nodes}
    for place, edge in enumerate(bundle.social_edges):
        for end in ("from_id", "to_id"):
            if getattr(edge, end) not in nodes:
                return f"social_edges[{place}].{end}"
    facts = {fact.id for fact in bundle.knowledge}
    for place, source in enumerate(bundle.knowledge_sources):
        if source.knowledge_id not in facts:
            return f"knowledge_sources[{place}].knowledge_id"
    return None


def _count(connection: Connection, table: str) -> int:
    found = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(found[0]) if found else 0
