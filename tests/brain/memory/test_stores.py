"""The long-term stores find what they were given, whatever the words."""

from functools import partial
from typing import Protocol

import pytest

from september.brain.memory import episode_search, episodes, knowledge, working
from september.brain.memory.episodes import Episode
from september.brain.memory.knowledge import Fact
from september.brain.memory.shelves import EPISODES
from september.brain.memory.vectors import VectorIndex
from september.brain.memory.words import Lexicon
from september.brain.store.connection import Connection
from september.brain.store.database import Database


class Brain(Protocol):
    @property
    def database(self) -> Database: ...


def found_episodes(connection: Connection, text: str, limit: int) -> tuple[Episode, ...]:
    """What a search by words alone brings back."""
    query = Lexicon(EPISODES.name, EPISODES.table).query(connection, text)
    index = VectorIndex(EPISODES.vectors)
    hits = episode_search.search(connection, query, None, index, limit=limit, now=0)
    return tuple(hit.episode for hit in hits)


def episode(number: int, text: str) -> Episode:
    return Episode(f"ep-{number}", f"key {number}", text, "", "test", number, number)


def fact(number: int, text: str, since: int = 0, until: int | None = None) -> Fact:
    return Fact(f"kn-{number}", "subject", text, "rule", 0.5, "test", since, until, number)


async def test_episodes_come_back_whole_and_best_match_first(brain: Brain) -> None:
    given = [
        episode(1, "the cat sat on the mat"),
        *(episode(number, f"nothing of the kind, number {number}") for number in range(2, 12)),
        episode(12, "dogs bark"),
    ]
    for each in given:
        await brain.database.write(partial(episodes.write, episode=each))
    found = await brain.database.read(lambda c: found_episodes(c, "cats", 10))
    assert found[0] == given[0]
    assert given[-1] not in found, "only what matches, and what stands beside it"
    assert len(await brain.database.read(lambda c: found_episodes(c, "cat dog", 2))) == 2


@pytest.mark.parametrize(
    "query",
    [
        '"',
        "'",
        "a AND",
        "NEAR(",
        "*",
        "^",
        "col:x",
        "-",
        "()",
        "\\",
        'a"b OR',
        "😀",
        "",
        "x" * 5000,
        "NOT",
        "{",
        "+",
        "ü ß 東京",
        "rowid",
        "%_",
        ";--",
    ],
)
async def test_any_text_is_a_valid_query(brain: Brain, query: str) -> None:
    await brain.database.write(lambda c: episodes.write(c, episode(1, "something")))
    await brain.database.write(lambda c: knowledge.add(c, fact(1, "something")))
    assert await brain.database.read(lambda c: found_episodes(c, query, 5)) == ()
    assert await brain.database.read(lambda c: knowledge.search(c, query, 5, now=10)) == ()


async def test_only_facts_in_force_are_found(brain: Brain) -> None:
    facts = [fact(1, "tea", until=5), fact(2, "tea", since=5), fact(3, "tea", since=20)]
    for each in facts:
        await brain.database.write(partial(knowledge.add, fact=each))

    async def at(now: int) -> list[str]:
        found = await brain.database.read(lambda c: knowledge.search(c, "tea", 9, now))
        return [each.id for each in found]

    assert await at(4) == ["kn-1"]
    assert await at(5) == ["kn-2"]
    assert await at(30) == ["kn-3", "kn-2"]


async def test_expired_notes_are_hidden_and_then_removed(brain: Brain) -> None:
    async def at(now: int) -> tuple[tuple[str, str], ...]:
        return await brain.database.read(lambda c: working.entries(c, "t", now))

    await brain.database.write(lambda c: working.note(c, "t", "a", "1", now=0, expires_at=10))
    await brain.database.write(lambda c: working.note(c, "t", "b", "2", now=0, expires_at=20))
    assert await at(5) == (("a", "1"), ("b", "2"))
    assert await at(15) == (("b", "2"),)
    assert await brain.database.write(lambda c: working.forget_expired(c, 15)) == 1
