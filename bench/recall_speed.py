"""The speed half of `bench/recall.py`: a brain that grows, and plain sqlite-vec beside it."""

import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import trio

from september.actors import ChildSpec, SupervisorSpec, running_tree
from september.brain.memory import episode_search, queue
from september.brain.memory.episodes import Episode, episode_of, write_many
from september.brain.memory.shelves import EPISODES
from september.brain.memory.vectors import Sight, VectorIndex
from september.brain.memory.words import Lexicon
from september.brain.store.brain_file import BrainFile
from september.brain.store.connection import Connection, connect
from september.brain.store.database import Database
from september.brain.store.session import Role, configure
from september.brain.store.store import Store, StoreMessage

Array = Any

DIMENSION: Final = 1536
VOCABULARY: Final = 20_000
WORDS: Final = 25
ASKED: Final = 6
"""Words of a row, and of a query."""
SYLLABLES: Final = [first + last for first in "bcdfghjklmnprstvwz" for last in "aeiou"]
TOPICS: Final = 500
QUERIES: Final = 200
PEER_EVERY: Final = 5
"""The peers answer each fifth query: theirs take long."""
BITS_KEPT: Final = 400
"""Rows that vec0 rescores after the look at bits: as many as we ever do, nearly."""
BATCH: Final = 256
NOW: Final = 1_800_000_000_000

SHAPES: Final = ("topics", "uniform")


class Rows:
    """Texts with Zipf's frequencies of words, and unit vectors.

    Vectors of `topics` are like those of an embedder: all lean the same way (mean cosine about
    0.2), stand around 500 topics of Zipf's sizes (about 0.55 within one), and their first numbers
    vary more than their last. `uniform` ones have any direction: they have no neighbours to speak
    of, which no text has, and are the hardest case.
    """

    def __init__(self, shape: str) -> None:
        self._rng = np.random.default_rng(7)
        self._shape = shape
        spread = np.arange(1, DIMENSION + 1, dtype=np.float32) ** -0.25
        self._spread = spread / np.sqrt((spread**2).mean())
        self._lean = 0.5 * self._drawn(1)
        self._centres = 0.7 * self._drawn(TOPICS)
        self._sizes = _zipf(TOPICS)
        self._share = _zipf(VOCABULARY)
        syllables: Array = self._rng.choice(SYLLABLES, (VOCABULARY, 3))
        self._words: list[str] = ["".join(word) for word in syllables]

    def vectors(self, count: int) -> Array:
        """Unit vectors `[count, 1536]`."""
        found = self._rng.standard_normal((count, DIMENSION), dtype=np.float32)
        if self._shape == "topics":
            topic = self._rng.choice(TOPICS, count, p=self._sizes)
            found = 0.8 * found * self._spread + self._centres[topic] + self._lean
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    def texts(self, count: int, words: int) -> list[str]:
        """Texts of so many words."""
        picked: Array = self._rng.choice(VOCABULARY, (count, words), p=self._share)
        return [" ".join(self._words[int(number)] for number in row) for row in picked]

    def _drawn(self, count: int) -> Array:
        return self._rng.standard_normal((count, DIMENSION), dtype=np.float32) * self._spread


def _zipf(count: int) -> Array:
    share = 1 / np.arange(1, count + 1)
    return share / share.sum()


class Brain:
    """A brain's search as `POST /memory/episodes/search` makes it, with vectors that are given."""

    def __init__(self, database: Database, space: int) -> None:
        self._database = database
        self._space = space
        self._lexicon = Lexicon(EPISODES.name, EPISODES.table)
        self._index = VectorIndex(EPISODES.vectors)

    async def insert(self, first: int, texts: Sequence[str], vectors: Array) -> None:
        """Write rows and their vectors, in one transaction."""
        made = [
            episode_of(f"key {first + at}", "", text, now=NOW, occurred_at=NOW + first + at)
            for at, text in enumerate(texts)
        ]
        items = {first + at + 1: vector.tobytes() for at, vector in enumerate(vectors)}
        await self._database.write(
            partial(_inserted, episodes=made, space=self._space, vectors=items)
        )

    async def hybrid(self, text: str, vector: bytes) -> int:
        """One read for the words, one for the search; the number of hits."""
        query = await self._database.read(partial(self._lexicon.query, text=text))
        hits = await self._database.read(
            partial(
                episode_search.search,
                query=query,
                sight=Sight(self._space, vector),
                index=self._index,
                limit=10,
                now=NOW,
            )
        )
        return len(hits)

    async def nearest(self, vector: bytes) -> set[int]:
        """The ten nearest by vector alone."""
        sight = Sight(self._space, vector)
        found = await self._database.read(
            lambda connection: self._index.seen(connection, sight).nearest(connection, 10)
        )
        return set(found)


def _inserted(
    connection: Connection, episodes: Sequence[Episode], space: int, vectors: dict[int, bytes]
) -> None:
    write_many(connection, episodes)
    batch = queue.next_batch(connection, BATCH)
    assert batch is not None
    queue.settle(connection, batch, space, vectors)


@asynccontextmanager
async def brain(folder: Path) -> AsyncGenerator[Brain]:
    """A fresh brain with a running store."""
    file = BrainFile(folder / "brain.sqlite")
    store: ChildSpec[StoreMessage] = ChildSpec("store", lambda: Store(file))
    async with running_tree(SupervisorSpec("bench", (store,))) as tree:
        database = Database(tree.ref(store))
        space = await database.write(partial(queue.enter_space, name="bench"))
        yield Brain(database, space)


class PlainVec:
    """sqlite-vec as its documentation shows it: a vec0 table with whole vectors and their bits."""

    def __init__(self, folder: Path) -> None:
        self._db = connect(folder / "plain.sqlite")
        configure(self._db, Role.WRITER)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(f"CREATE VIRTUAL TABLE plain USING vec0 (embedding float[{DIMENSION}])")
        self._db.execute(f"CREATE VIRTUAL TABLE bits USING vec0 (coarse bit[{DIMENSION}])")

    def insert(self, first: int, vectors: Array) -> None:
        """The whole vectors alone, in one transaction."""
        rows = [(first + at + 1, vector.tobytes()) for at, vector in enumerate(vectors)]
        self._many("INSERT INTO plain (rowid, embedding) VALUES (?, ?)", rows)

    def insert_bits(self, first: int, vectors: Array) -> None:
        """Their signs."""
        rows = [(first + at + 1, vector.tobytes()) for at, vector in enumerate(vectors)]
        self._many("INSERT INTO bits VALUES (?, vec_quantize_binary(?))", rows)

    def exact(self, vector: bytes) -> set[int]:
        """Brute force over the whole vectors."""
        return self._rows("SELECT rowid FROM plain WHERE embedding MATCH ?1 AND k = 10", vector)

    def by_bits(self, vector: bytes) -> set[int]:
        """The nearest by bits, and of these the nearest by whole vectors."""
        return self._rows(
            "SELECT p.rowid FROM plain AS p WHERE p.rowid IN (SELECT rowid FROM bits"
            f" WHERE coarse MATCH vec_quantize_binary(?1) AND k = {BITS_KEPT})"
            " ORDER BY vec_distance_cosine(p.embedding, ?1) LIMIT 10",
            vector,
        )

    def _many(self, statement: str, rows: Sequence[tuple[int, bytes]]) -> None:
        self._db.execute("BEGIN")
        self._db.executemany(statement, rows)
        self._db.execute("COMMIT")

    def _rows(self, statement: str, vector: bytes) -> set[int]:
        return {int(row[0]) for row in self._db.execute(statement, (vector,))}


@dataclass
class Times:
    """Milliseconds of calls, on the wall and of the processor."""

    wall: list[float] = field(default_factory=list[float])
    busy: list[float] = field(default_factory=list[float])

    def begun(self) -> Callable[[], None]:
        """Start the clocks; the result stops them."""
        began, worked = time.perf_counter(), time.process_time()

        def ended() -> None:
            self.wall.append(1000 * (time.perf_counter() - began))
            self.busy.append(1000 * (time.process_time() - worked))

        return ended

    def cells(self) -> str:
        """Median and 95th percentile."""
        at = [np.percentile(times, share) for times in (self.wall, self.busy) for share in (50, 95)]
        return f"{at[0]:7.1f} {at[1]:7.1f}  ({at[2]:5.1f} {at[3]:5.1f})"


def speed(sizes: Sequence[int], shape: str) -> None:
    """Fill one brain and one vec0 table up to each size, and measure there."""
    print(f"vectors: {shape}, {DIMENSION} numbers; {QUERIES} queries of {ASKED} words and a vector")
    print("times: ms on the wall, p50 and p95, and in brackets of the processor")
    trio.run(_speed, sizes, shape)


async def _speed(sizes: Sequence[int], shape: str) -> None:
    rows = Rows(shape)
    exact = np.empty((max(sizes), DIMENSION), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        plain = PlainVec(Path(folder))
        async with brain(Path(folder)) as ours:
            filled = 0
            for size in sizes:
                await _fill(ours, plain, rows, exact, filled, size)
                await _measure(ours, plain, rows, exact[:size])
                filled = size


async def _fill(
    ours: Brain, plain: PlainVec, rows: Rows, exact: Array, start: int, end: int
) -> None:
    """Insert rows, in turns; print rows per second."""
    mine, theirs = Times(), Times()
    for first in range(start, end, BATCH):
        count = min(BATCH, end - first)
        vectors = exact[first : first + count] = rows.vectors(count)
        texts = rows.texts(count, WORDS)
        ended = mine.begun()
        await ours.insert(first, texts, vectors)
        ended()
        ended = theirs.begun()
        plain.insert(first, vectors)
        ended()
        plain.insert_bits(first, vectors)
    rates = [1000 * (end - start) / sum(times.wall) for times in (mine, theirs)]
    print(f"\n{end} rows: {rates[0]:.0f} rows/s in, with text and indexes; vec0 {rates[1]:.0f}")


async def _measure(ours: Brain, plain: PlainVec, rows: Rows, exact: Array) -> None:
    texts = rows.texts(QUERIES, ASKED)
    vectors = [vector.tobytes() for vector in rows.vectors(QUERIES)]
    first, hybrid, alone, brute, bits = (Times() for _ in range(5))
    near: list[set[int]] = []
    rescored: dict[int, set[int]] = {}
    ended = first.begun()
    await ours.hybrid(texts[0], vectors[0])
    ended()
    for number, (text, vector) in enumerate(zip(texts, vectors, strict=True)):
        ended = hybrid.begun()
        await ours.hybrid(text, vector)
        ended()
        ended = alone.begun()
        near.append(await ours.nearest(vector))
        ended()
        if number % PEER_EVERY == 0:
            ended = brute.begun()
            plain.exact(vector)
            ended()
            ended = bits.begun()
            rescored[number] = plain.by_bits(vector)
            ended()
    best = [_best(exact, vector) for vector in vectors]  # last: its threads would spin meanwhile
    recall = np.mean([len(one & two) / 10 for one, two in zip(near, best, strict=True)])
    by_bits = np.mean([len(found & best[number]) / 10 for number, found in rescored.items()])
    print(f"  hybrid search         {hybrid.cells()}   the first one {first.wall[0]:.0f}")
    print(f"  vectors alone         {alone.cells()}   recall@10 {recall:.4f}")
    print(f"  vec0, brute force     {brute.cells()}")
    print(f"  vec0, bits + rescored {bits.cells()}   recall@10 {by_bits:.4f}", flush=True)


def _best(exact: Array, vector: bytes) -> set[int]:
    """The ten nearest by brute force."""
    scores = exact @ np.frombuffer(vector, "<f4")
    return set((np.argpartition(-scores, 10)[:10] + 1).tolist())
