"""A pass turns what was said into memory, invents nothing, and can be taken back."""

from functools import partial
from pathlib import Path

import pytest
import trio

from september.brain import conversations
from september.brain.herald.herald import GetHealth
from september.brain.learning import material, passes
from september.brain.learning.draft import (
    Draft,
    EpisodeDraft,
    FactDraft,
    RelationDraft,
    merged,
    of_turn,
)
from september.brain.learning.extraction import Extractor
from september.brain.learning.material import Turn
from september.brain.learning.passes import Pass
from september.brain.memory import integrity
from september.brain.memory.episodes import episode_of, write_many
from september.brain.memory.forget import forget
from september.brain.memory.knowledge import fact_of, tell
from september.brain.store.connection import Row
from tests.brain.herald.stage import Stage, provider
from tests.brain.memory.conftest import Mind

from .stage import BEGAN, ByRules, study_of, studying, talked

HOUR = 3_600_001
"""Further apart than this, episodes are no neighbours."""


async def rows(mind: Mind, sql: str) -> list[Row]:
    return await mind.database.read(lambda c: c.execute(sql).fetchall())


async def known(mind: Mind, question: str, *, history: bool = False) -> list[str]:
    hits = await mind.memory.search_knowledge(question, 10, history=history)
    return [hit.fact.content for hit in hits]


async def sound(mind: Mind) -> bool:
    found = await mind.database.read(partial(integrity.check, space=mind.embedder.name))
    return all(one.sound for one in found)


async def test_turns_become_memories_that_cite_them(tmp_path: Path) -> None:
    async with studying(tmp_path / "brain.sqlite") as (mind, study):
        await talked(
            mind.database,
            "My name is Ana and I live in Lisbon.",
            "Eve is my wife. Always answer in German.",
            "thanks!",
        )
        (done,) = await study.learn("task")
        assert done.status == "done" and done.extractor == "rules"
        assert done.report.counts == {
            "trajectories": 3, "episodes": 2, "facts_added": 4, "relations": 1, "patterns": 1,
        }  # fmt: skip
        assert "lives in Lisbon" in await known(mind, "where do I live?")
        (hit, *_) = await mind.memory.search_episodes("what did Ana say of Lisbon", 3)
        assert hit.episode.source == "trajectory:trajectory-task-1"
        assert {node.node.name for node in await mind.memory.search_social("Eve", 5)} == {
            "Eve", "user",
        }  # fmt: skip
        for table in ("episodes", "knowledge_store", "social_graph_edges", "soul_entries"):
            cited = await rows(mind, f"SELECT trajectory_id, pass_id, trace_id FROM {table}")
            assert {pass_id for _, pass_id, _ in cited} == {done.pass_id}
            assert {trace for _, _, trace in cited} == {done.trace_id}
            assert all(trajectory.startswith("trajectory-task-") for trajectory, _, _ in cited)
        assert await study.learn("task") == (), "what is learned is not learned again"
        assert await sound(mind)


async def test_m1_the_same_fact_in_two_turns_is_one_row_with_two_sources(tmp_path: Path) -> None:
    async with studying(tmp_path / "brain.sqlite") as (mind, study):
        await talked(mind.database, "I live in Lisbon.")
        await study.learn("task")
        await talked(mind.database, "As you know, nothing new.", "I live in Lisbon!", first=2)
        await study.learn("task")
        assert await rows(mind, "SELECT count(*) FROM knowledge_store") == [(1,)]
        assert await rows(mind, "SELECT count(*) FROM knowledge_sources") == [(2,)]


async def test_m1_a_contradiction_closes_the_older_fact_and_both_are_history(
    tmp_path: Path,
) -> None:
    async with studying(tmp_path / "brain.sqlite") as (mind, study):
        await talked(mind.database, "I live in Lisbon.", "I moved to Porto.", "My boss is Eva.")
        await study.learn("task")
        await talked(mind.database, "My boss is Tom.", first=4)
        (second,) = await study.learn("task")
        assert await known(mind, "where do I live") == ["lives in Porto"]
        assert "lives in Lisbon" in await known(mind, "where do I live", history=True)
        (window,) = await rows(
            mind, "SELECT valid_from, valid_until FROM knowledge_store WHERE content LIKE '%Lisbon'"
        )
        assert window == (BEGAN + 60_000, BEGAN + 120_000)
        edges = "SELECT from_id FROM social_graph_edges WHERE valid_until IS NULL"
        assert len(await rows(mind, edges)) == 1, "one boss at a time"
        undone = await study.undo(second.pass_id)
        assert undone.status == "rolled_back"
        assert "boss's name is Eva" in await known(mind, "who is my boss")
        assert len(await rows(mind, edges)) == 2, "the tombstone's window is open, it is forgotten"
        assert await sound(mind)


async def test_m3_an_undone_pass_leaves_tombstones_and_restores_what_it_changed(
    tmp_path: Path,
) -> None:
    async with studying(tmp_path / "brain.sqlite") as (mind, study):
        fact = fact_of("user", "lives in Lisbon", now=BEGAN, confidence=0.5)
        home = await mind.memory.write(partial(tell, fact=fact))
        await talked(mind.database, "I live in Lisbon. My dog is called Biscuit.")
        (done,) = await study.learn("task")
        surer = await rows(mind, "SELECT confidence FROM knowledge_store ORDER BY rowid LIMIT 1")
        assert surer[0][0] > 0.5
        before = await rows(mind, "SELECT count(*) FROM knowledge_store")
        undone = await study.undo(done.pass_id)
        assert (undone.status, undone.report.reason) == ("rolled_back", "undone on request")
        assert await study.undo(done.pass_id) == undone, "twice is the same as once"
        assert await rows(
            mind, f"SELECT confidence, confirmed_at FROM knowledge_store WHERE id = '{home.id}'"
        ) == [(0.5, BEGAN)]
        assert await rows(mind, "SELECT count(*) FROM knowledge_store") == before
        assert await known(mind, "Biscuit Lisbon") == ["lives in Lisbon"]
        assert await mind.memory.search_episodes("Biscuit", 5) == ()
        assert await study.learn("task") == (), "what was undone is not learned again"
        assert await sound(mind)


async def test_undoing_a_fact_that_was_contradicted_since_hands_its_window_on(
    tmp_path: Path,
) -> None:
    async with studying(tmp_path / "brain.sqlite") as (mind, study):
        done: list[Pass] = []
        for number, place in enumerate(("Rome", "Oslo", "Bern"), 1):
            await talked(mind.database, f"I live in {place}.", first=number)
            done += await study.learn("task")
        await study.undo(done[1].pass_id)
        assert await known(mind, "where do I live") == ["lives in Bern"]
        closed = "SELECT content, valid_until FROM knowledge_store WHERE forgotten_at IS NULL"
        assert await rows(mind, f"{closed} ORDER BY rowid") == [
            ("lives in Rome", BEGAN + 180_000),
            ("lives in Bern", None),
        ]


async def test_what_the_user_forgot_stays_forgotten(tmp_path: Path) -> None:
    async with studying(tmp_path / "brain.sqlite") as (mind, study):
        await talked(mind.database, "My dog is called Biscuit.")
        await study.learn("task")
        (row,) = await rows(mind, "SELECT id FROM knowledge_store")
        await mind.memory.write(partial(forget, memory_id=row[0], now=BEGAN))
        await talked(mind.database, "Nothing new today, I fear.", first=2)
        await study.learn("task")
        assert await known(mind, "dog Biscuit") == []


async def test_signals_become_patterns_and_episodes(tmp_path: Path) -> None:
    async with studying(tmp_path / "brain.sqlite") as (mind, study):
        await talked(mind.database, "How do I bake bread?")
        for signal, comment in (("down", "far too long"), ("up", None), ("use metric units", None)):
            keep = partial(
                conversations.signal,
                task_id="task",
                turn_id="turn-task-1",
                text=signal,
                comment=comment,
            )
            await mind.database.write(keep)
        (done,) = await study.learn("task")
        assert done.report.counts["signals"] == 3
        patterns = await rows(mind, "SELECT text, source FROM soul_entries ORDER BY text")
        assert patterns == [
            ("The user said: use metric units", "signal:3"),
            ("To avoid: far too long", "signal:1"),
        ]
        liked = await mind.memory.search_episodes("feedback liked bread", 5)
        assert "The user liked the answer" in {hit.episode.description for hit in liked}


def test_what_a_model_makes_up_is_dropped() -> None:
    turn = Turn("t", "task", "completed", "I flew to Oslo with Eve in 2024.", "Nice!", (), 0)
    model = Draft(
        episodes=(EpisodeDraft("trip", "The user flew to Oslo", "with Eve in 2024"),),
        facts=(
            FactDraft("user", "flew to Oslo in 2024", "fact", 1.0),
            FactDraft("user", "flew to Bergen in 2024", "fact", 1.0),
            FactDraft("Eve", "is an astronaut from Sweden", "fact", 0.9),
        ),
        relations=(RelationDraft("Eve", "friend", "user"), RelationDraft("Bob", "friend", "Eve")),
    )
    kept = merged(of_turn(turn), model, turn)
    assert [fact.content for fact in kept.facts] == ["flew to Oslo in 2024"]
    assert kept.facts[0].confidence <= 0.9, "a model is never surer than the person"
    assert [(tie.one, tie.other) for tie in kept.relations] == [("Eve", "user")]
    assert len(kept.episodes) == 2
    assert kept.ungrounded == 3


async def test_o10_a_pass_that_lowers_recall_is_taken_back_and_reported(mind: Mind) -> None:
    told = [
        episode_of("k", f"the {word} report of the harbour office is blue", "", now=number * HOUR)
        for number, word in enumerate(("yearly", "weekly", "daily", "hourly", "monthly"))
    ]
    await mind.memory.write(partial(write_many, episodes=tuple(told)))
    noise = [
        Draft(tuple(EpisodeDraft(text, text, f"{text}, {n}") for n in range(12)))
        for text in (one.description for one in told)
    ]
    study = study_of(mind, ByRules(*noise))
    await talked(mind.database, *(f"Tell me about the harbour office, part {n}." for n in range(5)))
    (done,) = await study.learn("task")
    recall = done.report.recall
    assert done.status == "rolled_back"
    assert recall is not None and recall.after < recall.before == recall.questions == 5
    assert done.report.reason == f"recall fell from 5 to {recall.after} of 5"
    found = await mind.memory.search_episodes("the weekly report of the harbour office", 20)
    assert {hit.episode.id for hit in found} <= {one.id for one in told}
    assert await study.learn("task") == (), "it is not tried again"
    assert await sound(mind)


async def test_a_pass_over_a_deleted_or_edited_turn_learns_nothing_of_it(mind: Mind) -> None:
    study = study_of(mind)
    await talked(mind.database, "My dog is called Biscuit.", "My cat is called Tom.")
    await mind.database.write(
        lambda c: (
            c.execute("UPDATE messages SET superseded_at = 1 WHERE turn_id = 'turn-task-1'")
            and None
        )
    )
    (done,) = await study.learn("task")
    assert done.status == "done"
    assert await known(mind, "dog cat") == ["cat's name is Tom"]


async def test_a_task_is_due_when_idle_and_at_the_latest_after_the_interval(mind: Mind) -> None:
    async def due(idle: int, interval: int) -> list[int]:
        read = partial(material.waiting, idle_ms=idle, interval_ms=interval)
        return [one.due - BEGAN for one in await mind.database.read(read)]

    assert await due(1000, 9000) == []
    await talked(mind.database, "one", "two")
    assert await due(1000, 10**9) == [121_000], "idle since the second turn"
    assert await due(10**9, 9000) == [69_000], "the first turn has waited for the interval"
    await mind.database.write(
        lambda c: (
            c.execute("UPDATE turns SET status = 'running' WHERE turn_id = 'turn-task-2'") and None
        )
    )
    assert await due(1000, 90_000) == [150_000], "a task that runs is not idle"
    began = await mind.database.write(
        partial(passes.begin, task_id="task", pass_id="p", trace_id="", now=BEGAN)
    )
    assert began is not None
    await mind.database.write(partial(passes.fail, pass_id="p", reason="x", now=BEGAN + 150_000))
    assert await due(1000, 90_000) == [240_000], "after a failure it rests for an interval"


@pytest.mark.parametrize("pass_id", ["", "pass-unknown"])
async def test_an_unknown_pass_is_refused(mind: Mind, pass_id: str) -> None:
    with pytest.raises(Exception, match="there is no pass"):
        await study_of(mind).undo(pass_id)


async def test_m6_ingest_and_passes_at_the_same_time_wait_for_nobody_and_lose_nothing(
    mind: Mind,
) -> None:
    study = study_of(mind)

    async def ingest(task: str) -> None:
        for number in range(12):
            await talked(mind.database, f"I own a boat of type {number}.", task=task, first=number)
            fact = fact_of(task, f"has note {number}", now=BEGAN)
            await mind.memory.write(partial(tell, fact=fact))
            if number % 4 == 3:
                await study.learn(task)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for task in ("one", "two", "three"):
                nursery.start_soon(ingest, task)
    assert await rows(mind, "SELECT count(*) FROM trajectories WHERE learned_at IS NULL") == [(0,)]
    assert await rows(mind, "SELECT DISTINCT status FROM learning_passes") == [("done",)]
    assert await rows(mind, "SELECT count(*) FROM episodes") == [(36,)]
    boats = "SELECT count(*) FROM knowledge_store WHERE content LIKE 'owns a boat%'"
    assert await rows(mind, boats) == [(12,)], "told in three tasks, known once"
    assert await sound(mind)


async def test_m2_a_pass_makes_one_model_call_for_several_turns(mind: Mind) -> None:
    """An empty extraction for each call; the rules alone write what was stated."""
    empty = '{"episodes":[],"facts":[],"relations":[],"patterns":[]}'
    rule = {"steps": [{"text": empty}], "usage": {"input_tokens": 1000}}
    stage = Stage(provider(rule), quota=(10**9, 3600.0))
    async with stage.running() as gateway:
        study = study_of(mind, Extractor(lambda: gateway))
        await talked(mind.database, *(f"I own a boat of type {number}." for number in range(20)))
        (done,) = await study.learn("task")
        assert done.extractor == "scripted:test (no language model)"
        assert done.report.counts["facts_added"] == 20
        used = (await stage.tree.ref(stage.herald).call(GetHealth())).quota_used
        assert used == 3000, "twenty turns, eight for each call"
