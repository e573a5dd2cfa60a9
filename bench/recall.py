"""How fast memory is found among many rows, and how often what answers a question is found.

    python -m bench.recall speed [--rows 1000 10000 50000 100000] [--vectors uniform|clustered]
    python -m bench.recall quality ../shared/data/locomo-dev.json [--without FEATURE ...]

`speed` fills a brain with rows of 1536 dimensions and searches it, words and vectors together,
through the store's readers; its recall is of the coded vectors against all exact cosines.
`quality` writes every turn of LoCoMo's conversations as one episode, each conversation into a
brain of its own, and asks its questions: the share of a question's evidence turns among the first
five and ten, averaged over all questions that have any (LoCoMo is CC BY-NC 4.0: for measuring
only, and no part of this project).
"""

import argparse
import json
import re
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import trio

from september.actors import ChildSpec, SupervisorSpec, ref_of, running_tree
from september.brain.herald.embedder_local import LocalEmbedder
from september.brain.herald.embeddings import EmbedderActor, EmbedderMessage, Embeddings
from september.brain.memory import episode_search, queue
from september.brain.memory.episode_ranking import WEIGHTS, Weights
from september.brain.memory.episodes import Episode, episode_of, write_many
from september.brain.memory.indexer import Indexer, IndexerMessage
from september.brain.memory.memory import Memory
from september.brain.memory.shelves import EPISODES
from september.brain.memory.vectors import Sight, VectorIndex
from september.brain.memory.words import Lexicon
from september.brain.store.brain_file import BrainFile
from september.brain.store.connection import Connection
from september.brain.store.database import Database
from september.brain.store.store import Store, StoreMessage

Array = Any

DIMENSION: Final = 1536
VOCABULARY: Final = 20_000
SYLLABLES: Final = [first + last for first in "bcdfghjklmnprstvwz" for last in "aeiou"]
QUERIES: Final = 200
BATCH: Final = 256
SPACE: Final = "bench"
NOW: Final = 1_800_000_000_000


@dataclass(frozen=True)
class Brain:
    """A running store, with memory on top."""

    database: Database
    memory: Memory


@asynccontextmanager
async def brain(weights: Weights = WEIGHTS) -> AsyncGenerator[Brain]:
    """A fresh brain in a temporary folder, with the local embedder."""
    with tempfile.TemporaryDirectory() as folder:
        file = BrainFile(Path(folder) / "brain.sqlite")
        embedder = LocalEmbedder()
        store: ChildSpec[StoreMessage] = ChildSpec("store", lambda: Store(file))
        embedding: ChildSpec[EmbedderMessage] = ChildSpec(
            "embedder", lambda: EmbedderActor(embedder)
        )

        def made() -> tuple[Database, Embeddings]:
            space = Embeddings(ref_of(embedding), embedder.name, embedder.dimension)
            return Database(ref_of(store)), space

        indexer: ChildSpec[IndexerMessage] = ChildSpec("indexer", lambda: Indexer(*made()))
        async with running_tree(SupervisorSpec("bench", (store, embedding, indexer))) as tree:
            database = Database(tree.ref(store))
            space = Embeddings(tree.ref(embedding), embedder.name, embedder.dimension)
            yield Brain(database, Memory(database, space, tree.ref(indexer), weights))


# Speed


class Rows:
    """Texts with Zipf's frequencies of words, and unit vectors."""

    def __init__(self, shape: str) -> None:
        self._rng = np.random.default_rng(7)
        self._centres = self._rng.standard_normal((500, DIMENSION), dtype=np.float32)
        self._shape = shape
        share = 1 / np.arange(1, VOCABULARY + 1)
        self._share = share / share.sum()
        self._words = ["".join(word) for word in self._rng.choice(SYLLABLES, (VOCABULARY, 3))]

    def vectors(self, count: int) -> Array:
        """Unit vectors: uniform on the sphere, the hardest case, or around 500 topics."""
        found = self._rng.standard_normal((count, DIMENSION), dtype=np.float32)
        if self._shape == "clustered":
            found = 0.8 * found + self._centres[self._rng.integers(0, 500, count)]
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    def texts(self, count: int, words: int) -> list[str]:
        """Texts of so many words."""
        picked = self._rng.choice(VOCABULARY, (count, words), p=self._share)
        return [" ".join(self._words[number] for number in row) for row in picked]


async def speed(sizes: Sequence[int], shape: str) -> None:
    """Fill one brain up to each size, and measure there."""
    print(f"vectors: {shape}, {DIMENSION} dimensions; {QUERIES} queries of 6 words and a vector")
    print(
        "rows     insert/s   first ms   p50 ms   p95 ms   CPU p50 ms   CPU p95 ms   vectors p95"
        "   recall@10"
    )
    rows = Rows(shape)
    exact = np.empty((max(sizes), DIMENSION), np.float32)
    async with brain() as under:
        index, lexicon = VectorIndex(EPISODES.vectors), Lexicon(EPISODES.name, EPISODES.table)
        filled = 0
        space = await under.database.write(partial(queue.enter_space, name=SPACE))
        for size in sizes:
            rate = await _fill(under.database, rows, exact, filled, size, space)
            filled = size
            search = Search(under.database, lexicon, index, space)
            await _measure(search, rows, exact[:size], rate)


async def _fill(
    database: Database, rows: Rows, exact: Array, start: int, end: int, space: int
) -> float:
    """Insert rows with their vectors; return rows per second."""
    spent = 0.0
    for first in range(start, end, BATCH):
        count = min(BATCH, end - first)
        exact[first : first + count] = rows.vectors(count)
        made = [
            episode_of(f"key{first + at}", "", text, now=NOW, occurred_at=NOW + first + at)
            for at, text in enumerate(rows.texts(count, 25))
        ]
        vectors = {first + at + 1: exact[first + at].tobytes() for at in range(count)}
        began = time.perf_counter()
        await database.write(partial(_insert, episodes=made, space=space, vectors=vectors))
        spent += time.perf_counter() - began
    return (end - start) / spent


def _insert(
    connection: Connection, episodes: Sequence[Episode], space: int, vectors: dict[int, bytes]
) -> None:
    write_many(connection, episodes)
    batch = queue.next_batch(connection, BATCH)
    assert batch is not None
    queue.settle(connection, batch, space, vectors)


@dataclass(frozen=True)
class Search:
    """The search that `/memory/episodes/search` makes, with a vector that is given."""

    database: Database
    lexicon: Lexicon
    index: VectorIndex
    space: int

    async def hybrid(self, text: str, vector: bytes) -> tuple[str, ...]:
        """As in `Memory`: one read for the words, one for the search."""
        query = await self.database.read(partial(self.lexicon.query, text=text))
        hits = await self.database.read(
            partial(
                episode_search.search,
                query=query,
                sight=Sight(self.space, vector),
                index=self.index,
                limit=10,
                now=NOW,
            )
        )
        return tuple(hit.episode.key for hit in hits)

    async def nearest(self, vector: bytes) -> dict[int, float]:
        """The vectors alone."""
        return await self.database.read(
            lambda c: self.index.seen(c, Sight(self.space, vector)).nearest(c, 10)
        )


async def _measure(search: Search, rows: Rows, exact: Array, rate: float) -> None:
    texts, vectors = rows.texts(QUERIES, 6), rows.vectors(QUERIES)
    began = time.perf_counter()
    await search.hybrid(texts[0], vectors[0].tobytes())
    first = time.perf_counter() - began
    hybrid, busy, alone, found = [], [], [], []
    for text, vector in zip(texts, vectors, strict=True):
        began, worked = time.perf_counter(), time.process_time()
        await search.hybrid(text, vector.tobytes())
        hybrid.append(1000 * (time.perf_counter() - began))
        busy.append(1000 * (time.process_time() - worked))
    for vector in vectors:
        began = time.perf_counter()
        found.append(await search.nearest(vector.tobytes()))
        alone.append(1000 * (time.perf_counter() - began))
    best = [np.argpartition(-(exact @ vector), 10)[:10] + 1 for vector in vectors]
    shares = [
        len(set(one.tolist()) & near.keys()) / 10 for one, near in zip(best, found, strict=True)
    ]
    print(
        f"{len(exact):<8} {rate:8.0f} {1000 * first:10.1f} {statistics.median(hybrid):8.1f}"
        f" {_p95(hybrid):8.1f} {statistics.median(busy):12.1f} {_p95(busy):12.1f}"
        f" {_p95(alone):13.1f} {statistics.mean(shares):11.3f}",
        flush=True,
    )


def _p95(times: Sequence[float]) -> float:
    return float(np.percentile(times, 95))


# Quality


@dataclass(frozen=True)
class Conversation:
    """A conversation's turns as episodes, in order, and its questions with their evidence."""

    name: str
    episodes: tuple[Episode, ...]
    questions: tuple[tuple[str, frozenset[str], int], ...]


def conversations(file: Path) -> Iterator[Conversation]:
    """Read LoCoMo. A turn's picture is part of what was said."""
    for one in json.loads(file.read_text())["conversations"]:
        ids: dict[str, str] = {}
        episodes: list[Episode] = []
        for turn, when, session in _turns(one["conversation"]):
            said = cast("str", turn["text"])
            if turn.get("blip_caption"):
                said += f" [shares {turn['blip_caption']}]"
            episode = episode_of(
                turn["speaker"],
                f"{turn['speaker']}, {when:%d %B %Y}",
                said,
                now=NOW,
                occurred_at=int(when.timestamp() * 1000),
                source=f"{one['sample_id']}/{session}/{turn['dia_id']}",
            )
            ids[turn["dia_id"]] = episode.id
            episodes.append(episode)
        asked = (
            (q["question"], frozenset(ids[e] for e in q["evidence"] if e in ids), q["category"])
            for q in one["qa"]
        )
        yield Conversation(
            one["sample_id"], tuple(episodes), tuple(line for line in asked if line[1])
        )


def _turns(conversation: dict[str, Any]) -> Iterator[tuple[dict[str, Any], datetime, str]]:
    sessions = [name for name in conversation if re.fullmatch(r"session_\d+", name)]
    for session in sorted(sessions, key=lambda name: int(name[8:])):
        text = conversation[f"{session}_date_time"]
        when = datetime.strptime(text, "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)
        for turn in conversation[session]:
            yield turn, when, session


async def quality(file: Path, weights: Weights) -> None:
    """Ask all questions of all conversations."""
    at5: list[float] = []
    at10: list[float] = []
    by_kind: dict[int, list[float]] = {}
    for conversation in conversations(file):
        five, ten = await _asked(conversation, weights)
        print(
            f"{conversation.name:10} R@5 {_share(five)}  R@10 {_share(ten)}  {len(ten)} questions"
        )
        at5 += five
        at10 += ten
        for (_, _, kind), share in zip(conversation.questions, ten, strict=True):
            by_kind.setdefault(kind, []).append(share)
    print(f"{'all':10} R@5 {_share(at5)}  R@10 {_share(at10)}  {len(at10)} questions")
    kinds = ", ".join(f"{kind}: {_share(shares)}" for kind, shares in sorted(by_kind.items()))
    print(f"R@10 by LoCoMo's category  {kinds}")


async def _asked(conversation: Conversation, weights: Weights) -> tuple[list[float], list[float]]:
    five: list[float] = []
    ten: list[float] = []
    async with brain(weights) as under:
        await under.memory.write(partial(write_many, episodes=conversation.episodes))
        await under.memory.settled(60)
        for question, evidence, _ in conversation.questions:
            hits = await under.memory.search_episodes(question, 10)
            found = [hit.episode.id for hit in hits]
            five.append(len(evidence & set(found[:5])) / len(evidence))
            ten.append(len(evidence & set(found)) / len(evidence))
    return five, ten


def _share(shares: Sequence[float]) -> str:
    return f"{100 * statistics.mean(shares):.1f} %"


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    fast = kinds.add_parser("speed")
    fast.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 50_000, 100_000])
    fast.add_argument("--vectors", choices=("uniform", "clustered"), default="clustered")
    good = kinds.add_parser("quality")
    good.add_argument("file", type=Path)
    names = list(Weights.__dataclass_fields__)
    good.add_argument("--without", nargs="*", choices=names, default=[])
    chosen = parser.parse_args()
    if chosen.kind == "speed":
        trio.run(speed, sorted(chosen.rows), chosen.vectors)
    else:
        trio.run(quality, chosen.file, replace(WEIGHTS, **dict.fromkeys(chosen.without, 0.0)))


if __name__ == "__main__":
    main()
