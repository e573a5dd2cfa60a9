"""The life of a memory: told, told again, contradicted, forgotten, moved to another brain."""

from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

from september.brain.catalog import Soul
from september.brain.clock import now_ms
from september.brain.memory import bundle, integrity, soul
from september.brain.memory.bundle import Bundle
from september.brain.memory.contradiction import contradicts, same
from september.brain.memory.episodes import episode_of, write_many
from september.brain.memory.knowledge import HALF_LIFE_MS, Outcome, Told, fact_of, tell
from september.brain.memory.social import write_edge, write_node
from september.brain.store.connection import Connection

from .conftest import Mind, mind_in


async def told(mind: Mind, content: str, subject: str = "Ana", **more: int | str) -> Told:
    fact = fact_of(
        subject,
        content,
        now=int(more.get("now", now_ms())),
        source=str(more.get("source", "user")),
        valid_from=int(more["valid_from"]) if "valid_from" in more else None,
    )
    return await mind.memory.write(partial(tell, fact=fact))


async def known(mind: Mind, question: str, *, history: bool = False) -> list[str]:
    hits = await mind.memory.search_knowledge(question, 20, history=history)
    return [hit.fact.content for hit in hits]


async def test_m1_the_same_fact_twice_is_one_row(mind: Mind) -> None:
    first = await told(mind, "lives in Berlin", source="a")
    again = await told(mind, "Lives in Berlin.", subject="ana", source="b")
    assert (again.id, again.outcome) == (first.id, Outcome.CONFIRMED)
    assert await known(mind, "where does Ana live") == ["lives in Berlin"]
    hit = (await mind.memory.search_knowledge("Berlin", 1))[0]
    assert hit.fact.confidence == pytest.approx(0.96, abs=0.001)
    sources = await mind.database.read(
        lambda db: db.execute("SELECT source FROM knowledge_sources ORDER BY 1").fetchall()
    )
    assert sources == [("a",), ("b",)]


async def test_m1_a_contradiction_closes_the_older_fact_and_loses_neither(mind: Mind) -> None:
    old = await told(mind, "lives in Berlin", now=now_ms() - 1000)
    new = await told(mind, "lives in Paris")
    assert new.outcome is Outcome.SUPERSEDED and new.closed == (old.id,)
    assert await known(mind, "Ana lives") == ["lives in Paris"]
    assert set(await known(mind, "Ana lives", history=True)) == {
        "lives in Paris",
        "lives in Berlin",
    }


async def test_a_fact_that_comes_back_into_force_is_a_row_of_its_own(mind: Mind) -> None:
    ids = {(await told(mind, f"lives in {city}")).id for city in ("Rome", "Oslo", "Rome")}
    assert len(ids) == 3
    assert await known(mind, "Ana lives") == ["lives in Rome"]


async def test_news_from_the_past_is_history_from_the_start(mind: Mind) -> None:
    await told(mind, "works as a pilot", valid_from=2000)
    late = await told(mind, "works as a waiter", valid_from=1000)
    assert late.outcome is Outcome.OUTDATED
    assert await known(mind, "Ana works") == ["works as a pilot"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("lives in Berlin", "now lives in Paris"),
        ("moved to Paris", "lives in Berlin"),
        ("likes pizza", "does not like pizza"),
        ("likes pizza", "no longer likes pizza"),
        ("favourite colour is red", "favourite colour is blue"),
        ("The deadline is Friday", "The deadline is Monday"),
        ("prefers tea", "prefers coffee"),
    ],
)
def test_what_cannot_hold_together_contradicts(one: str, other: str) -> None:
    assert contradicts(one, other) and contradicts(other, one) and not same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("likes pizza", "likes pasta"),
        ("is a nurse", "is tall"),
        ("has a dog", "has a cat"),
        ("lives in Berlin", "works as a nurse"),
        ("does not like pizza", "does not like pasta"),
    ],
)
def test_what_can_hold_together_does_not_contradict(one: str, other: str) -> None:
    assert not contradicts(one, other) and not contradicts(other, one)


async def test_confidence_decays_until_the_fact_is_confirmed(mind: Mind) -> None:
    await told(mind, "likes plums", now=now_ms() - HALF_LIFE_MS)
    assert (await mind.memory.search_knowledge("plums", 1))[0].fact.confidence == pytest.approx(
        0.4, abs=0.001
    )
    await told(mind, "likes plums")
    assert (await mind.memory.search_knowledge("plums", 1))[0].fact.confidence == pytest.approx(
        0.8, abs=0.001
    )


async def test_two_concurrent_writers_leave_one_row_for_each_thing_said(mind: Mind) -> None:
    async def write() -> None:
        for number in range(30):
            await told(mind, f"owns item {number}")
            one = episode_of("k", "", f"event {number}", now=1, occurred_at=number)
            await mind.memory.write(partial(write_many, episodes=(one,)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        nursery.start_soon(write)
    await mind.memory.settled(30)
    found = await mind.database.read(partial(integrity.check, space=mind.embedder.name))
    assert [one.rows for one in found] == [30, 30, 0] and all(one.sound for one in found)


async def test_the_soul_is_its_template_and_what_it_took_up(mind: Mind) -> None:
    template = Soul(identity="I", values=("v",), patterns=("p",))
    adopt = partial(soul.adopt, part="pattern", text="Short answers.", now=1, source="t")
    for _ in range(2):
        await mind.database.write(adopt)
    now = await mind.database.read(partial(soul.current, template=template))
    assert now == Soul(identity="I", values=("v",), patterns=("p", "Short answers."))


def fill(db: Connection) -> None:
    write_many(
        db,
        [
            episode_of("talk", "", f"Ada spoke about topic {n % 7} and {n}.", now=1, occurred_at=n)
            for n in range(60)
        ],
    )
    tell(db, fact_of("Ada", "lives in Berlin", now=1))
    tell(db, fact_of("Ada", "lives in Paris", now=2))
    write_edge(db, write_node(db, "Ada", now=1), write_node(db, "Bo", now=1), "knows", now=1)
    soul.adopt(db, "value", "Candour.", now=1, source="t")


async def test_an_export_imported_into_an_empty_brain_restores_search_results_exactly(
    mind: Mind, tmp_path: Path
) -> None:
    await mind.memory.write(fill)
    await mind.memory.settled(30)
    document = msgspec.json.encode(await mind.database.read(bundle.export))
    async with mind_in(tmp_path / "other.sqlite") as other:
        read = msgspec.json.decode(document, type=Bundle)
        counts = await other.memory.write(partial(bundle.merge, bundle=read))
        await other.memory.settled(30)
        assert counts["episodes"].added == 60 and counts["knowledge"].added == 2
        for question in ("What did Ada say about topic 3?", "topic", "Paris"):
            here = await mind.memory.search_episodes(question, 10)
            assert here and here == await other.memory.search_episodes(question, 10)
            facts = await mind.memory.search_knowledge(question, 10, history=True)
            theirs = await other.memory.search_knowledge(question, 10, history=True)
            assert [hit.fact.id for hit in facts] == [hit.fact.id for hit in theirs]
        assert msgspec.json.encode(await other.database.read(bundle.export)) == document


async def test_an_import_into_a_brain_that_is_not_empty_merges_by_id(mind: Mind) -> None:
    await mind.memory.write(fill)
    document = await mind.database.read(bundle.export)
    counts = await mind.memory.write(partial(bundle.merge, bundle=document))
    assert {part: count.added for part, count in counts.items()} == dict.fromkeys(counts, 0)
    assert counts["episodes"].kept == 60


def test_a_document_that_refers_to_what_it_lacks_says_where() -> None:
    rows = {"id": "e", "from_id": "a", "to_id": "b", "relation": "r", "confidence": 1.0}
    times = {"valid_from": 1, "created_at": 1, "source": "s"}
    document = msgspec.convert({"social_edges": [{**rows, **times}]}, Bundle)
    flaw = bundle.flawed(document)
    assert flaw is not None and flaw[0] == "social_edges[0].from_id"
