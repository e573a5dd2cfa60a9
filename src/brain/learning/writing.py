"""Writing a draft to memory, and taking a whole pass back. One transaction each.

Nothing is deleted: a contradicted fact is closed, what an undone pass wrote becomes a tombstone.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from ..memory import episodes, knowledge, social, soul
from ..memory.contradiction import same
from ..memory.episodes import Origin
from ..memory.knowledge import Fact
from ..store.connection import Connection
from .draft import Draft, FactDraft, RelationDraft
from .statements import USER

ONE_AT_A_TIME: Final = frozenset(
    {"wife", "husband", "partner", "girlfriend", "boyfriend", "boss", "manager"}
    | {"works at", "works for", "lives in", "is married to"}
)
"""Relations of which one holds at a time: a new one closes the one before."""

_USERS: Final = ONE_AT_A_TIME - {"works at", "works for", "lives in", "is married to"}
"""Those of which it is the other end that has but one."""


def write(
    connection: Connection, draft: Draft, source: str, at: int, origin: Origin
) -> Counter[str]:
    """Learn a draft, as of `at` (ms); count what became of it."""
    counts: Counter[str] = Counter(ungrounded=draft.ungrounded)
    for one in draft.episodes:
        told = episodes.episode_of(
            one.key, one.description, one.value, now=at, occurred_at=at, source=source
        )
        episodes.write(connection, told, origin)
        counts["episodes"] += 1
    for fact in draft.facts:
        counts[f"facts_{_tell(connection, fact, source, at, origin)}"] += 1
    for relation in draft.relations:
        _tie(connection, relation, source, at, origin)
        counts["relations"] += 1
    for pattern in draft.patterns:
        soul.adopt(connection, "pattern", pattern, now=at, source=source, origin=origin)
        counts["patterns"] += 1
    return counts


def _tell(connection: Connection, draft: FactDraft, source: str, at: int, origin: Origin) -> str:
    fact = knowledge.fact_of(
        draft.subject,
        draft.content,
        now=at,
        kind=draft.type,
        confidence=draft.confidence,
        source=source,
    )
    _note_confirmation(connection, fact, origin.pass_id)
    return knowledge.tell(connection, fact, origin).outcome.value


def _note_confirmation(connection: Connection, fact: Fact, pass_id: str) -> None:
    """Keep how sure the fact was, if telling it will confirm one that is known."""
    for known in knowledge.in_force(connection, fact.subject):
        if same(known.content, fact.content):
            connection.execute(
                "INSERT OR IGNORE INTO learning_confirmations"
                " SELECT ?, id, confidence, confirmed_at FROM knowledge_store WHERE id = ?",
                (pass_id, known.id),
            )
            return


def _tie(
    connection: Connection, relation: RelationDraft, source: str, at: int, origin: Origin
) -> None:
    one, other = (
        social.write_node(connection, name, now=at, kind=_kind(name), source=source, origin=origin)
        for name in (relation.one, relation.other)
    )
    edge = social.write_edge(
        connection, one, other, relation.relation, now=at, source=source, origin=origin
    )
    if relation.relation.lower() in ONE_AT_A_TIME:
        _close_rivals(connection, edge, relation.relation, one, other, at, origin.pass_id)


def _kind(name: str) -> str:
    return USER if name.lower() == USER else "person"


def _close_rivals(
    connection: Connection, edge: str, relation: str, one: str, other: str, at: int, pass_id: str
) -> None:
    """Close what the new edge puts out of force, unless that began after it."""
    fixed, end = ("to_id", other) if relation.lower() in _USERS else ("from_id", one)
    rivals = connection.execute(
        f"SELECT id FROM social_graph_edges WHERE {fixed} = ? AND relation = ? COLLATE NOCASE"
        " AND id != ? AND valid_until IS NULL AND forgotten_at IS NULL AND valid_from <= ?",
        (end, relation, edge, at),
    ).fetchall()
    for (rival,) in rivals:
        connection.execute(
            "UPDATE social_graph_edges SET valid_until = ? WHERE id = ?", (at, rival)
        )
        connection.execute(
            "INSERT OR IGNORE INTO learning_closures (pass_id, knowledge_id) VALUES (?, ?)",
            (pass_id, rival),
        )


def take_back(connection: Connection, pass_id: str, now: int) -> None:
    """Undo what a pass wrote: its rows become tombstones, what it closed or confirmed is restored.

    A fact that it closed and that was contradicted again since stays closed, by that later one.
    """
    connection.execute(
        "UPDATE knowledge_store AS k SET (valid_until, superseded_by) ="
        " (SELECT b.valid_until, b.superseded_by FROM knowledge_store AS b"
        "   WHERE b.id = k.superseded_by)"
        " WHERE k.superseded_by IN (SELECT id FROM knowledge_store WHERE pass_id = ?1)"
        " AND k.id IN (SELECT knowledge_id FROM learning_closures WHERE pass_id = ?1)",
        (pass_id,),
    )
    connection.execute(
        "UPDATE social_graph_edges SET valid_until = NULL WHERE id IN"
        " (SELECT knowledge_id FROM learning_closures WHERE pass_id = ?)",
        (pass_id,),
    )
    connection.execute(
        "UPDATE knowledge_store AS k SET (confidence, confirmed_at) ="
        " (SELECT c.confidence, c.confirmed_at FROM learning_confirmations AS c"
        "   WHERE c.pass_id = ?1 AND c.knowledge_id = k.id)"
        " WHERE k.id IN (SELECT knowledge_id FROM learning_confirmations WHERE pass_id = ?1)",
        (pass_id,),
    )
    _bury(connection, pass_id, now)


_BURIED: Final[Mapping[str, str]] = {
    "episodes": "forgotten_at",
    "knowledge_store": "forgotten_at",
    "social_graph_edges": "forgotten_at",
    "soul_entries": "retired_at",
}


def _bury(connection: Connection, pass_id: str, now: int) -> None:
    for table, column in _BURIED.items():
        connection.execute(
            f"UPDATE {table} SET {column} = ? WHERE pass_id = ? AND {column} IS NULL",
            (now, pass_id),
        )
    connection.execute(
        "UPDATE social_graph_nodes SET forgotten_at = ?1 WHERE pass_id = ?2"
        " AND forgotten_at IS NULL AND id NOT IN (SELECT from_id FROM social_graph_edges"
        "   WHERE forgotten_at IS NULL UNION SELECT to_id FROM social_graph_edges"
        "   WHERE forgotten_at IS NULL)",
        (now, pass_id),
    )
