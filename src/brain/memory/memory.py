"""Long-term memory as the rest of the Engine uses it: search, recall, write."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final, TypeAlias, TypeVar

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

_Question: TypeAlias = tuple[Query, int]
"""A question to a store, and the space of its vectors; 0 while it has none."""

_Seen: TypeAlias = tuple[Query, Sight | None]

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
        """What all stores hold about `text`: what a turn is shown of long-term memory.

        A turn waits for it before it asks its model: so it reads twice, however many stores
        there are, and not a second time where they are all empty.
        """
        asked = await self._database.read(partial(self._asked, text=text))
        if not asked:
            return ()
        sights: dict[str, Sight | None] = {}
        async with trio.open_nursery() as nursery:
            for name, question in asked.items():
                nursery.start_soon(self._see, name, question, sights)
        questions = {name: (query, sights[name]) for name, (query, _) in asked.items()}
        return await self._database.read(
            partial(self._recalled, questions=questions, limit=limit, now=now_ms())
        )

    def _asked(self, connection: Connection, text: str) -> dict[str, _Question]:
        """`text` as a question to each store that holds something."""
        filled = [shelf for shelf in SHELVES if self._lexicons[shelf.name].filled(connection)]
        return {shelf.name: self._question(connection, shelf, text) for shelf in filled}

    async def _see(self, name: str, question: _Question, sights: dict[str, Sight | None]) -> None:
        sights[name] = await self._sight(question)

    def _recalled(
        self, connection: Connection, questions: Mapping[str, _Seen], limit: int, now: int
    ) -> tuple[Recalled, ...]:
        found: list[list[Recalled]] = []
        for name, (query, sight) in questions.items():
            index = self._indexes[name]
            match name:
                case EPISODES.name:
                    hits = episode_search.search(
                        connection, query, sight, index, limit=limit, now=now, weights=self._weights
                    )
                    found.append(list(map(_remembered, hits)))
                case KNOWLEDGE.name:
                    facts = fact_search.search_knowledge(
                        connection, query, sight, index, limit=limit, now=now
                    )
                    found.append(list(map(_known, facts)))
                case _:
                    nodes = fact_search.search_social(
                        connection, query, sight, index, limit=limit, now=now
                    )
                    found.append(list(map(_acquainted, nodes)))
        return interleaved(found, limit)

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
        question = await self._database.read(partial(self._question, shelf=shelf, text=text))
        return question[0], await self._sight(question)

    def _question(self, connection: Connection, shelf: Shelf, text: str) -> _Question:
        query = self._lexicons[shelf.name].query(connection, text)
        return query, _space_if_any(connection, shelf, self._embeddings.name)

    async def _sight(self, question: _Question) -> Sight | None:
        query, space = question
        if not space or not query.stems:
            return None
        return await sight_of(space, self._embeddings.embed_query(query.text, query.weights))


def _remembered(hit: Hit) -> Recalled:
    return Recalled("episodes", hit.episode.id, hit.score, shown(hit.episode))


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
