"""The gate of a pass: sample questions that memory answered before it, asked again after it."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from ..memory.memory import Memory
from ..memory.words import FUNCTION_WORDS, WORD, stems
from ..store.connection import Connection
from ..store.database import Database
from .passes import Sample

SAMPLES: Final = 10
"""Memories asked for of each store: half of them the latest, half from all of it."""

TOP: Final = 10
"""A memory counts as found among so many."""

WORDS: Final = 8
"""Telling words of a memory that make the question for it."""

Store: TypeAlias = Literal["episodes", "knowledge"]

_TEXTS: Final[dict[Store, tuple[str, str, str]]] = {
    "episodes": ("episodes", "key || ' ' || description || ' ' || value", "1"),
    "knowledge": ("knowledge_store", "subject || ' ' || content", "valid_until IS NULL"),
}


def samples(connection: Connection, pass_id: str) -> tuple[Sample, ...]:
    """Questions for memories that no row of this pass wrote."""
    return tuple(sample for store in _TEXTS for sample in _of_store(connection, store, pass_id))


def _of_store(connection: Connection, store: Store, pass_id: str) -> list[Sample]:
    table, text, holds = _TEXTS[store]
    live = f"{table} WHERE forgotten_at IS NULL AND {holds} AND pass_id IS NOT ?1"
    rows = connection.execute(
        f"WITH live AS (SELECT rowid AS n, id, {text} AS text FROM {live}),"
        f" latest AS (SELECT * FROM live ORDER BY n DESC LIMIT {SAMPLES // 2})"
        " SELECT id, text FROM latest UNION SELECT id, text FROM"
        f" (SELECT * FROM live WHERE n NOT IN (SELECT n FROM latest)"
        f"   ORDER BY (n * 2654435761) % 4294967296 LIMIT {SAMPLES // 2}) ORDER BY id",
        (pass_id,),
    )
    asked = [Sample(store, row_id, question(text)) for row_id, text in rows]
    return [sample for sample in asked if sample.question]


def question(text: str) -> str:
    """The first telling words of a memory."""
    words = dict.fromkeys(word for word in WORD.findall(text) if len(word) > 1)
    telling = [word for word in words if word.lower() not in FUNCTION_WORDS]
    return " ".join(telling[:WORDS])


async def found(
    database: Database, memory: Memory, asked: Sequence[Sample], taken_up: Collection[str]
) -> int:
    """How many of the questions bring back their memory, what has superseded it, or an equal.

    An equal holds every word of the question: who keeps a diary would else never learn from its
    next page. But one turn (`taken_up` are the sources of this pass) that gives several equals
    has only said the same again and again, and none of them counts.
    """
    count = 0
    for sample in asked:
        hits = await _hits(memory, sample)
        known = {hit.id for hit in hits} & await _heirs(database, sample)
        count += bool(known) or _answered(sample, hits, taken_up)
    return count


def _answered(sample: Sample, hits: Sequence["_Hit"], taken_up: Collection[str]) -> bool:
    words = set(stems(sample.question))
    equals = Counter(hit.source for hit in hits if words <= set(stems(hit.text)))
    return any(count == 1 or source not in taken_up for source, count in equals.items())


class _Hit(Struct, frozen=True):
    """What a question brought back."""

    id: str
    source: str
    text: str


async def _hits(memory: Memory, sample: Sample) -> list[_Hit]:
    if sample.store == "episodes":
        episodes = [hit.episode for hit in await memory.search_episodes(sample.question, TOP)]
        return [
            _Hit(one.id, one.source, f"{one.key} {one.description} {one.value}") for one in episodes
        ]
    facts = [hit.fact for hit in await memory.search_knowledge(sample.question, TOP)]
    return [_Hit(one.id, one.source, f"{one.subject} {one.content}") for one in facts]


async def _heirs(database: Database, sample: Sample) -> set[str]:
    """The memory, and those that have taken its place."""
    if sample.store == "episodes":
        return {sample.id}
    rows = await database.read(
        lambda connection: connection.execute(
            "WITH RECURSIVE heirs (id) AS (VALUES (?) UNION SELECT superseded_by"
            " FROM knowledge_store JOIN heirs USING (id) WHERE superseded_by IS NOT NULL)"
            " SELECT id FROM heirs",
            (sample.id,),
        ).fetchall()
    )
    return {heir for (heir,) in rows}
