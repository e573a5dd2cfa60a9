"""Long-term memory as the rest of the Engine uses it: search, recall, write."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

import trio

from ...actors import ActorError, ActorRef
from ...errors import SeptemberError
from ..clock import now_ms
from ..herald.embeddings import Embeddings
from ..store.connection import Connection
from ..store.database import Database
from . import episode_search, fact_search
from .episode_ranking import WEIGHTS, Weights
from .episode_search import Hit
from .fact_search import FactHit, NodeHit
from .indexer import AwaitDrained, GetProgress, IndexerMessage, Wake
from .queue import Progress
from .recall import Recalled, interleaved, shown
from .shelves import EPISODES, KNOWLEDGE, SHELVES, SOCIAL, Shelf
from .vectors import Sight, VectorIndex, space_number
from .words import Lexicon, Query

T = TypeVar("T")

SIGHT_S: Final = 2.0
"""How long a search waits for the vector of its query, in seconds; then words must do."""


class Memory:
    """One brain's memory. Searches run in the store's reader threads, on one snapshot each.

    What was written is found by the next search: by its words at once, by its meaning when the
    indexer has come to it.
    """

    def __init__(
        self,
        database: Database,
        embeddings: Embeddings,
        indexer: ActorRef[IndexerMessage],
        weights: Weights = WEIGHTS,
    ) -> None:
        self._database = database
        self._embeddings = embeddings
        self._indexer = indexer
        self._lexicons = {shelf.name: Lexicon(shelf.name, shelf.table) for shelf in SHELVES}
        self._indexes = {shelf.name: VectorIndex(shelf.vectors) for shelf in SHELVES}
        self._weights = weights

    async def search_episodes(self, text: str, limit: int) -> tuple[Hit, ...]:
        """The episodes that answer `text` best, best first."""
        query, sight = await self._understood(EPISODES, text)
        return await self._database.read(
            partial(
                episode_search.search,
                query=query,
                sight=sight,
                index=self._indexes[EPISODES.name],
                limit=limit,
                now=now_ms(),
                weights=self._weights,
            )
        )

    async def search_knowledge(
        self, text: str, limit: int, *, history: bool = False
    ) -> tuple[FactHit, ...]:
        """The facts that answer best; with `history` also those that no longer hold."""
        query, sight = await self._understood(KNOWLEDGE, text)
        return await self._database.read(
            partial(
                fact_search.search_knowledge,
                query=query,
                sight=sight,
                index=self._indexes[KNOWLEDGE.name],
                limit=limit,
                now=now_ms(),
                history=history,
            )
        )

    async def search_social(self, text: str, limit: int) -> tuple[NodeHit, ...]:
        """The people and things that answer best, with their relations."""
        query, sight = await self._understood(SOCIAL, text)
        return await self._database.read(
            partial(
                fact_search.search_social,
                query=query,
                sight=sight,
                index=self._indexes[SOCIAL.name],
                limit=limit,
                now=now_ms(),
            )
        )

    async def recall(self, text: str, limit: int) -> tuple[Recalled, ...]:
        """What all stores hold about `text`: what a turn is shown of long-term memory."""
        episodes = await self.search_episodes(text, limit)
        facts = await self.search_knowledge(text, limit)
        nodes = await self.search_social(text, limit)
        return interleaved(
            (
                [Recalled("episodes", h.episode.id, h.score, shown(h.episode)) for h in episodes],
                [_known(hit) for hit in facts],
                [_acquainted(hit) for hit in nodes],
            ),
            limit,
        )

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction, then have what it wrote embedded."""
        value = await self._database.write(work)
        self._indexer.cast(Wake())
        return value

    async def progress(self) -> Progress:
        """How many memories still wait for their vector."""
        return await self._indexer.call(GetProgress())

    async def settled(self, within: float) -> Progress:
        """Wait until every memory has its vector, for at most `within` seconds."""
        with trio.move_on_after(within):
            return await self._indexer.call(AwaitDrained(), timeout=within)
        return await self.progress()

    async def _understood(self, shelf: Shelf, text: str) -> tuple[Query, Sight | None]:
        lexicon = self._lexicons[shelf.name]
        query, space = await self._database.read(
            lambda connection: (
                lexicon.query(connection, text),
                _space_if_any(connection, shelf, self._embeddings.name),
            )
        )
        if not space or not query.stems:
            return query, None
        seen = self._embeddings.embed_query(text, query.weights)
        return query, await sight_of(space, seen)


def _known(hit: FactHit) -> Recalled:
    fact = hit.fact
    return Recalled("knowledge", fact.id, hit.score, f"{fact.subject}: {fact.content}")


def _acquainted(hit: NodeHit) -> Recalled:
    node = hit.node
    text = f"{node.name} ({node.kind}): {node.description}"
    return Recalled("social", node.id, hit.score, text)


async def sight_of(space: int, seen: Awaitable[bytes]) -> Sight | None:
    """A query's vector, if it is there within SIGHT_S."""
    with trio.move_on_after(SIGHT_S):
        try:
            return Sight(space, await seen)
        except (SeptemberError, ActorError):
            return None  # words find it too: an outage of the embedder is no outage of memory
    return None


def _space_if_any(connection: Connection, shelf: Shelf, name: str) -> int:
    """The space in force; 0 while the store is empty, so that no embedder is loaded for nothing."""
    filled = connection.execute(f"SELECT 1 FROM {shelf.vectors} LIMIT 1").fetchone()
    return space_number(connection, name) if filled else 0
