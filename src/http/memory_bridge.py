"""The memory port's other side: an Engine's memory, as the routes see it."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from ..brain.clock import iso, now_ms
from ..brain.coordinator.coordinator import GetCatalog
from ..brain.memory import bundle, integrity, knowledge, social, soul
from ..brain.memory.bundle import Bundle
from ..brain.memory.episode_search import Hit
from ..brain.memory.episodes import episode_of, write_many
from ..brain.memory.fact_search import FactHit, NodeHit
from ..brain.memory.forget import forget
from ..brain.memory.integrity import Finding
from ..brain.memory.knowledge import fact_of
from ..brain.memory.queue import Progress
from ..brain.memory.social import Edge
from ..brain.store.connection import Connection
from ..brain.tree import Engine
from ..errors import SeptemberError
from .memory_port import (
    EmbeddingProgress,
    FoundEpisode,
    FoundFact,
    FoundNode,
    FullSoul,
    GraphEdge,
    Imported,
    Integrity,
    LearnedFact,
    NewEdge,
    NewEpisode,
    NewFact,
    NewNode,
    PartCounts,
    Remembered,
    RememberedGraph,
    SoulChange,
    StoreIntegrity,
    Tombstone,
)

SETTLE_S: Final = 20.0
"""How long an import waits for the vectors of what it brought, in seconds."""


class MemoryBridge:
    """Implements `MemoryPort` for a running Engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._memory = engine.memory

    async def search_episodes(self, query: str, limit: int) -> Sequence[FoundEpisode]:
        """Search what happened."""
        return [_episode(hit) for hit in await self._memory.search_episodes(query, limit)]

    async def search_knowledge(
        self, query: str, limit: int, *, history: bool
    ) -> Sequence[FoundFact]:
        """Search what is known."""
        found = await self._memory.search_knowledge(query, limit, history=history)
        return [_fact(hit) for hit in found]

    async def search_social(self, query: str, limit: int) -> Sequence[FoundNode]:
        """Search people and things."""
        return [_node(hit) for hit in await self._memory.search_social(query, limit)]

    async def soul(self) -> FullSoul:
        """The catalog's soul with what has grown on it."""
        catalog = await self._engine.coordinator.call(GetCatalog())
        now, past = await self._engine.database.read(
            lambda connection: (
                soul.current(connection, catalog.soul),
                soul.history(connection),
            )
        )
        changes = [
            msgspec.convert(
                {
                    **{name: getattr(one, name) for name in ("id", "part", "text", "source")},
                    "created_at": iso(one.created_at),
                    "retired_at": _iso(one.retired_at),
                },
                SoulChange,
            )
            for one in past
        ]
        return FullSoul(
            identity=now.identity, values=now.values, patterns=now.patterns, history=changes
        )

    async def write_episodes(self, episodes: Sequence[NewEpisode]) -> Remembered:
        """Remember, in one transaction."""
        now = now_ms()
        made = [
            episode_of(
                one.key,
                one.description,
                one.value,
                now=now,
                occurred_at=one.occurred_at,
                source=one.source,
            )
            for one in episodes
        ]
        await self._memory.write(partial(write_many, episodes=made))
        return Remembered(ids=[one.id for one in made])

    async def write_fact(self, fact: NewFact) -> LearnedFact:
        """Learn a fact, closing what it contradicts."""
        made = fact_of(
            fact.subject,
            fact.content,
            now=now_ms(),
            kind=fact.type,
            confidence=fact.confidence,
            source=fact.source,
            valid_from=fact.valid_from,
            valid_until=fact.valid_until,
        )
        told = await self._memory.write(partial(knowledge.tell, fact=made))
        return LearnedFact(id=told.id, outcome=told.outcome.value, closed=told.closed)

    async def write_graph(
        self, nodes: Sequence[NewNode], edges: Sequence[NewEdge], source: str
    ) -> RememberedGraph:
        """Learn nodes and edges, in one transaction."""
        return await self._memory.write(
            partial(_write_graph, nodes=nodes, edges=edges, source=source, now=now_ms())
        )

    async def forget(self, memory_id: str) -> Tombstone:
        """Forget one memory."""
        gone = await self._memory.write(partial(forget, memory_id=memory_id, now=now_ms()))
        shown = {"store": gone.store, "id": gone.id, "forgotten_at": iso(gone.forgotten_at)}
        return msgspec.convert(shown, Tombstone)

    async def export(self) -> Bundle:
        """All of memory, from one snapshot."""
        return await self._engine.database.read(bundle.export)

    async def merge(self, document: Bundle) -> Imported:
        """Merge a document; wait a while for its vectors."""
        flaw = bundle.flawed(document)
        if flaw is not None:
            place, problem = flaw
            raise SeptemberError(
                "INVALID_REQUEST", f"{place}: {problem}; nothing was imported", {"field": place}
            )
        counts = await self._memory.write(partial(bundle.merge, bundle=document))
        progress = await self._memory.settled(SETTLE_S)
        return Imported(
            counts={part: PartCounts(added=c.added, kept=c.kept) for part, c in counts.items()},
            embedding=_progress(progress),
        )

    async def integrity(self, *, repair: bool) -> Integrity:
        """Check, and with `repair` make anew what does not agree."""
        space = (await self._memory.progress()).space
        if repair:
            found = await self._memory.write(partial(integrity.repair, space=space))
        else:
            found = await self._engine.database.read(partial(integrity.check, space=space))
        stores = [_finding(one) for one in found]
        return Integrity(sound=all(one.sound for one in stores), repaired=repair, stores=stores)

    async def progress(self) -> EmbeddingProgress:
        """How far the vectors are."""
        return _progress(await self._memory.progress())


def _write_graph(
    connection: Connection,
    nodes: Sequence[NewNode],
    edges: Sequence[NewEdge],
    source: str,
    now: int,
) -> RememberedGraph:
    def node(name: str, kind: str = "person", description: str = "") -> str:
        return social.write_node(
            connection, name, kind=kind, description=description, source=source, now=now
        )

    written = [node(one.name, one.kind, one.description) for one in nodes]
    tied = [
        social.write_edge(
            connection,
            node(one.from_name),
            node(one.to_name),
            one.relation,
            now=now,
            confidence=one.confidence,
            source=source,
        )
        for one in edges
    ]
    return RememberedGraph(nodes=written, edges=tied)


def _episode(hit: Hit) -> FoundEpisode:
    one = hit.episode
    return FoundEpisode(
        id=one.id,
        key=one.key,
        description=one.description,
        value=one.value,
        occurred_at=iso(one.occurred_at),
        source=one.source,
        score=hit.score,
    )


def _fact(hit: FactHit) -> FoundFact:
    one = hit.fact
    return FoundFact(
        id=one.id,
        subject=one.subject,
        content=one.content,
        type=one.type,
        confidence=one.confidence,
        source=one.source,
        valid_from=iso(one.valid_from),
        valid_until=_iso(one.valid_until),
        score=hit.score,
    )


def _node(hit: NodeHit) -> FoundNode:
    one = hit.node
    return FoundNode(
        id=one.id,
        name=one.name,
        kind=one.kind,
        description=one.description,
        source=one.source,
        edges=[_edge(edge) for edge in hit.edges],
        score=hit.score,
    )


def _edge(edge: Edge) -> GraphEdge:
    return GraphEdge(
        id=edge.id,
        from_id=edge.from_id,
        to_id=edge.to_id,
        relation=edge.relation,
        confidence=edge.confidence,
        source=edge.source,
        valid_from=iso(edge.valid_from),
        valid_until=_iso(edge.valid_until),
    )


def _progress(progress: Progress) -> EmbeddingProgress:
    return EmbeddingProgress(space=progress.space, total=progress.total, pending=progress.pending)


def _finding(one: Finding) -> StoreIntegrity:
    shown = {name: getattr(one, name) for name in Finding.__struct_fields__}
    return msgspec.convert({**shown, "sound": one.sound}, StoreIntegrity)


def _iso(ms: int | None) -> str | None:
    return None if ms is None else iso(ms)
