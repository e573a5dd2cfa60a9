"""Searching memory: what was written is found, by words at once and by meaning soon after."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
import trio

from september.brain.herald.embeddings import Vector
from september.brain.herald.provider import Fault, ProviderError
from september.brain.memory import integrity, vectors
from september.brain.memory.codes import NOISE_OF_CODES, CodedQuery, encode
from september.brain.memory.dates import named_date
from september.brain.memory.episode_ranking import SITTING_MS
from september.brain.memory.episodes import Episode, episode_of, write_many
from september.brain.memory.forget import forget
from september.brain.memory.social import write_edge, write_node
from september.brain.memory.vectors import Sight, VectorIndex
from september.brain.store.connection import Connection
from september.brain.store.database import Database

from .conftest import Mind, mind_in

DAY = 86_400_000


def episode(value: str, key: str = "note", at: int = 1_700_000_000_000) -> Episode:
    return episode_of(key, "", value, now=1_800_000_000_000, occurred_at=at)


async def remember(mind: Mind, *episodes: Episode) -> None:
    await mind.memory.write(partial(write_many, episodes=episodes))


async def found(mind: Mind, question: str, limit: int = 5) -> list[str]:
    return [hit.episode.value for hit in await mind.memory.search_episodes(question, limit)]


class DeafEmbedder:
    """An embedder whose provider is down until told otherwise."""

    name = "deaf"
    dimension = 8

    def __init__(self) -> None:
        self.up = False
        self.asked = trio.Event()

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        self.asked.set()
        if not self.up:
            raise ProviderError(Fault.UNAVAILABLE, "down", provider="deaf")
        return [np.eye(8, dtype="<f4")[len(text) % 8].tobytes() for text in texts]

    async def embed_query(self, text: str, weights: Mapping[str, float]) -> Vector:
        return (await self.embed([text]))[0]

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_m4_what_was_written_is_found_by_the_next_search_while_the_embedder_is_down(
    tmp_path: Path,
) -> None:
    embedder = DeafEmbedder()
    async with mind_in(tmp_path / "brain.sqlite", embedder) as mind:
        await remember(mind, episode("The boiler was serviced by Okafor."))
        assert await found(mind, "who serviced the boiler?") == [
            "The boiler was serviced by Okafor."
        ]
        await embedder.asked.wait()
        assert (await mind.memory.progress()).pending == 1


async def test_m4_what_was_forgotten_is_not_found_by_the_next_search_and_leaves_a_tombstone(
    mind: Mind,
) -> None:
    gone = episode("The safe opens with 4711.")
    await remember(mind, gone)
    await mind.memory.settled(30)
    await mind.memory.write(partial(forget, memory_id=gone.id, now=5))
    assert await found(mind, "what opens the safe?") == []
    rows = await mind.database.read(
        lambda db: db.execute("SELECT id, forgotten_at FROM episodes").fetchall()
    )
    assert rows == [(gone.id, 5)]
    assert all(one.sound for one in await checked(mind))


async def test_what_was_forgotten_and_told_again_is_found_again(mind: Mind) -> None:
    told = episode("The cat is called Miso.")
    await remember(mind, told)
    await mind.memory.write(partial(forget, memory_id=told.id, now=5))
    await remember(mind, told)
    assert await found(mind, "what is the cat called?") == ["The cat is called Miso."]


async def test_a_word_that_was_unknown_a_moment_ago_is_found_in_a_store_that_hardly_grew(
    mind: Mind,
) -> None:
    await remember(mind, *(episode(f"Line number {number}.") for number in range(100)))
    assert await found(mind, "zeppelin") == []
    await remember(mind, episode("A zeppelin passed."))
    assert (await found(mind, "zeppelin", 1)) == ["A zeppelin passed."]


@pytest.mark.parametrize("question", ["nurse", "the nurses", "NURSING?"])
async def test_a_word_is_found_in_any_of_its_forms(mind: Mind, question: str) -> None:
    await remember(mind, episode("Her aunt is a nurse."), episode("The train was late."))
    assert (await found(mind, question))[:1] == ["Her aunt is a nurse."]


async def test_meaning_is_found_without_a_common_word(mind: Mind) -> None:
    await remember(
        mind,
        episode("We bought a new automobile.", at=0),
        episode("The soup needs more salt.", at=DAY),
        episode("He plays the violin on Sundays.", at=2 * DAY),
    )
    await mind.memory.settled(30)
    assert (await found(mind, "cars"))[:1] == ["We bought a new automobile."]


async def test_an_answer_is_found_by_the_question_before_it(mind: Mind) -> None:
    await remember(
        mind,
        *(episode(f"Small talk number {n}.", at=n * DAY) for n in range(8)),
        episode("Ben: Which instrument did you pick for the orchestra?", at=50 * DAY),
        episode("Ada: The oboe!", at=50 * DAY + 1000),
        *(episode(f"More talk number {n}.", at=(60 + n) * DAY) for n in range(8)),
    )
    await mind.memory.settled(30)
    assert "Ada: The oboe!" in await found(mind, "Which instrument did Ada pick?", 2)


async def test_neighbours_are_only_those_of_the_same_sitting(mind: Mind) -> None:
    await remember(
        mind,
        episode("Ben: Which instrument did you pick?", at=0),
        episode("The oboe!", at=SITTING_MS + 1),
    )
    hits = await mind.memory.search_episodes("instrument", 5)
    assert hits[0].episode.value.startswith("Ben") and hits[0].score > 2 * hits[1].score


async def test_a_named_date_brings_what_happened_then(mind: Mind) -> None:
    may, june = 1_683_500_000_000, 1_686_900_000_000  # 7 May and 16 June 2023
    await remember(mind, episode("Ada had lunch.", at=may), episode("Ada had lunch!", at=june))
    assert (await found(mind, "What did Ada have on 7 May 2023?"))[0] == "Ada had lunch."
    assert (await found(mind, "What did Ada have in June?"))[0] == "Ada had lunch!"


@pytest.mark.parametrize(
    ("text", "month", "day", "year"),
    [
        ("on October 13, 2023", 10, 13, 2023),
        ("on the 2nd of July", 7, 2, None),
        ("in Sept 2021", 9, None, 2021),
        ("2023-05-08", 5, 8, 2023),
        ("in May", 5, None, None),
    ],
)
def test_dates_are_read_in_the_ways_people_write_them(
    text: str, month: int, day: int | None, year: int | None
) -> None:
    date = named_date(text)
    assert date is not None and (date.month, date.day, date.year) == (month, day, year)


@pytest.mark.parametrize("text", ["she may come", "they march on", "32 people", "99-99-99", ""])
def test_what_is_no_date_is_read_as_none(text: str) -> None:
    assert named_date(text) is None


async def test_a_node_is_found_with_its_edges_and_brings_its_neighbour(mind: Mind) -> None:
    def write(db: Connection) -> None:
        ana = write_node(db, "Ana", description="a nurse in Graz", now=1)
        bob = write_node(db, "Bob", description="a pilot", now=1)
        write_edge(db, ana, bob, "sister of", now=1)
        write_node(db, "Zoe", description="a baker", now=1)

    await mind.memory.write(write)
    hits = await mind.memory.search_social("nurse", 10)
    assert [hit.node.name for hit in hits] == ["Ana", "Bob"]
    assert [edge.relation for edge in hits[0].edges] == ["sister of"]
    assert hits[0].score > hits[1].score


async def test_recall_shows_the_best_of_each_store(mind: Mind) -> None:
    def write(db: Connection) -> None:
        write_many(db, [episode(f"Ana said thing {n}.") for n in range(9)])
        write_node(db, "Ana", now=1)

    await mind.memory.write(write)
    shown = await mind.memory.recall("Ana", 4)
    assert {one.store for one in shown} == {"episodes", "social"} and len(shown) == 4


async def test_recall_finds_what_a_search_of_each_store_finds(mind: Mind) -> None:
    def write(db: Connection) -> None:
        write_many(db, [episode(f"Ana said thing {n}.") for n in range(9)])
        write_node(db, "Ana", description="a nurse", now=1)
        write_node(db, "Bob", description="a pilot", now=1)

    await mind.memory.write(write)
    await mind.memory.settled(30)
    asked = "the nurse Ana"
    shown = await mind.memory.recall(asked, 20)
    episodes = await mind.memory.search_episodes(asked, 20)
    nodes = await mind.memory.search_social(asked, 20)
    assert {hit.node.name for hit in nodes} >= {"Ana"} and len(episodes) == 9
    assert [one.id for one in shown if one.store == "episodes"] == [h.episode.id for h in episodes]
    assert [one.id for one in shown if one.store == "social"] == [hit.node.id for hit in nodes]


async def test_a_turn_waits_for_two_reads_of_memory_and_for_one_while_it_is_empty(
    mind: Mind, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, reads = Database.read, list[str]()

    async def counted(self: Database, work: Callable[[Connection], object]) -> object:
        asks: object = getattr(work, "func", work)
        if getattr(asks, "__self__", None) is mind.memory:  # and not the indexer, at its own work
            reads.append(repr(asks))
        return await read(self, work)

    monkeypatch.setattr(Database, "read", counted)
    assert await mind.memory.recall("Ana", 4) == ()
    assert len(reads) == 1
    await remember(mind, episode("Ana said something."))
    reads.clear()
    assert await mind.memory.recall("Ana", 4)
    assert len(reads) == 2


@pytest.mark.parametrize("text", ["", "?!", '"', "a AND OR NOT", "x" * 50_000, "日本", "\x00"])
async def test_no_text_is_a_bad_query(mind: Mind, text: str) -> None:
    await remember(mind, episode("Something."))
    await mind.memory.search_episodes(text, 5)
    await mind.memory.search_knowledge(text, 5)
    await mind.memory.search_social(text, 5)


async def checked(mind: Mind) -> tuple[integrity.Finding, ...]:
    return await mind.database.read(partial(integrity.check, space=mind.embedder.name))


@pytest.mark.parametrize(
    "damage",
    [
        "INSERT INTO episodes_fts (episodes_fts) VALUES ('delete-all')",
        "DELETE FROM episodes_vec WHERE item = 1",
        "DELETE FROM episodes_vec_exact WHERE item = 1",
        "INSERT INTO episodes_vec_exact VALUES (99, x'00')",
        "INSERT INTO episodes_fts (rowid, value) VALUES (99, 'ghost')",
    ],
)
async def test_integrity_notices_what_disagrees_and_mends_it(mind: Mind, damage: str) -> None:
    await remember(mind, episode("A kettle."), episode("A lamp."))
    await mind.memory.settled(30)
    await mind.database.write(lambda db: db.execute(damage).fetchall())
    assert not all(one.sound for one in await checked(mind))
    await mind.memory.write(partial(integrity.repair, space=mind.embedder.name))
    assert (await mind.memory.settled(30)).pending == 0
    assert all(one.sound for one in await checked(mind))
    assert (await found(mind, "kettle"))[0] == "A kettle."


async def test_another_embedder_re_embeds_every_row_and_search_works_meanwhile(
    tmp_path: Path,
) -> None:
    path = tmp_path / "brain.sqlite"
    async with mind_in(path) as mind:
        await remember(mind, *(episode(f"Fact {n} of the fern.") for n in range(300)))
        assert (await mind.memory.settled(30)).pending == 0
    embedder = DeafEmbedder()
    async with mind_in(path, embedder) as mind:
        await embedder.asked.wait()
        assert (await mind.memory.progress()).pending == 300
        assert len(await found(mind, "fern", 10)) == 10
        embedder.up = True
        assert (await mind.memory.settled(30)).pending == 0
        assert all(one.sound for one in await checked(mind))


Matrix: TypeAlias = "np.ndarray[tuple[int, int], np.dtype[np.float32]]"
Numbers: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.float32]]"


def unit(shape: tuple[int, int], seed: int, spread: "Numbers | None" = None) -> Matrix:
    drawn = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    drawn = drawn if spread is None else drawn * spread
    found: Matrix = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return found


@pytest.mark.parametrize("dimension", [8, 100, 256, 1536])
def test_coded_vectors_are_ordered_nearly_as_their_cosines(dimension: int) -> None:
    rows, query = unit((2000, dimension), 1), unit((1, dimension), 2)[0]
    planes = encode(rows).T
    coded = CodedQuery(query)
    looks = coded.agreement(planes), coded.signs(planes), coded.cosines(planes)
    rough, better, whole = (np.corrcoef(look, rows @ query)[0, 1] for look in looks)
    assert whole > 0.9 and whole > better > 0.7 and better > rough > 0.55
    assert np.abs(looks[2] - rows @ query).max() < 5 * NOISE_OF_CODES / np.sqrt(coded.size)


def ten_nearest(connection: Connection, index: VectorIndex, sight: Sight) -> dict[int, float]:
    return index.seen(connection, sight).nearest(connection, 10)


@pytest.mark.parametrize("decay", [0.0, 0.5])
async def test_the_nearest_of_many_are_those_of_brute_force(mind: Mind, decay: float) -> None:
    """Also where a few numbers of a vector vary far more than the others."""
    spread = np.arange(1, 257, dtype=np.float32) ** -decay
    rows, queries = unit((9000, 256), 3, spread), unit((20, 256), 4, spread)
    items = {at + 1: row.tobytes() for at, row in enumerate(rows)}
    await mind.database.write(partial(vectors.put, table="episodes_vec", space=1, vectors=items))
    index = VectorIndex("episodes_vec")
    shared = 0
    for query in queries:
        sight = Sight(1, query.tobytes())
        near = await mind.database.read(partial(ten_nearest, index=index, sight=sight))
        best = np.argsort(-(rows @ query))[:10] + 1
        shared += len(near.keys() & set(best.tolist()))
    assert shared / 200 >= 0.98
