"""The Learning Centre from outside: it learns when a task rests, on request, and takes back."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.peers import Find, Say, script

from .brain import rows
from .client import Client, Refused, named, text_of
from .harness import settings
from .served import served
from .stage import staged
from .waiting import until_told

EXTRACTED = {
    "episodes": [],
    "facts": [
        {"turn": 1, "subject": "user", "content": "breeds otters", "type": "fact", "confidence": 1},
        {"turn": 1, "subject": "user", "content": "is an astronaut", "type": "fact",
         "confidence": 1},
    ],
    "relations": [],
    "patterns": [{"turn": 1, "text": "Talk about otters"}],
}  # fmt: skip
RULES = f"""
name = "extraction"
[[rule]]
system = "You draw from finished turns"
steps = [{{ text = '''{json.dumps(EXTRACTED)}''' }}]
[[rule]]
match = ""
steps = [{{ text = "I see." }}]
"""


async def learned(client: Client) -> bool:
    """Whether a pass has ended."""
    status = await client.get("/learning/status")
    return any(one["status"] == "done" for one in status["passes"])


async def found(client: Client, query: str) -> list[str]:
    """The facts that a search brings back."""
    facts = await client.post("/memory/knowledge/search", {"query": query})
    return [fact["content"] for fact in facts]


async def test_a_task_is_learned_from_when_it_has_been_idle(tmp_path: Path) -> None:
    env = settings(tmp_path, LEARNING_IDLE_S="1")
    async with served(env) as engine:
        client = engine.client
        await client.turn("My dog is called Biscuit.")
        activity = (await client.get("/health"))["activity"]
        assert activity["next_wake_at"] is not None, "an orchestrator must not let it sleep longer"
        await until_told(partial(learned, client))
        assert await found(client, "what is my dog's name?") == ["dog's name is Biscuit"]
        health = await client.get("/health")
        assert health["activity"]["next_wake_at"] is None
        assert health["subsystems"]["learning_centre"] == "ok"


async def test_what_was_learned_in_one_task_is_known_in_another(tmp_path: Path) -> None:
    knows = Find(r"dog's name is (\w+)", otherwise="I do not know.")
    async with staged("anthropic", script(knows, Say("{}"), knows), tmp_path) as stage:
        await stage.client.turn("My dog is called Biscuit. Always answer in one word.")
        ran = await stage.client.post("/learning/run", {"task_id": "task"})
        assert [one["status"] for one in ran["passes"]] == ["done"]
        events = await stage.client.turn("What is the name of my dog?", "another")
        assert named(events, "memory_retrieval")
        assert text_of(events) == "Biscuit"
        system = json.dumps(stage.peer.requests[-1].body["system"])
        assert "Always answer in one word" in system, "a learned pattern is part of the soul"


async def test_a_models_extraction_is_checked_against_the_turn(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES)
    async with served(settings(tmp_path, SCRIPTED_RULES=str(rules))) as engine:
        await engine.client.turn("I have something to say: my family breeds otters, talk about it.")
        (done,) = (await engine.client.post("/learning/run", {}))["passes"]
        assert done["extractor"] == "scripted:extraction (no language model)"
        assert done["counts"]["ungrounded"] == 1
        assert await found(engine.client, "otters astronaut") == ["breeds otters"]
        soul = await engine.client.get("/memory/soul")
        assert "Talk about otters" in soul["patterns"]


async def test_a_pass_is_shown_run_and_undone(tmp_path: Path) -> None:
    async with served(settings(tmp_path)) as engine:
        client = engine.client
        assert (await client.http.post("/learning/run")).json() == {"passes": []}
        await client.turn("My dog is called Biscuit.")
        waiting: dict[str, Any] = await client.get("/learning/status")
        assert [(one["task_id"], one["items"]) for one in waiting["waiting"]] == [("task", 1)]
        await client.post("/feedback", {"task_id": "task", "signal": "down", "comment": "too long"})
        (done,) = (await client.post("/learning/run", {"task_id": "task"}))["passes"]
        assert done["counts"]["trajectories"] == done["counts"]["signals"] == 1
        assert done["trace_id"] and done["ended_at"]
        assert done["steps"] == done["applied"] == 2
        status = await client.get("/learning/status")
        assert status["waiting"] == [] and status["passes"] == [done]
        assert "To avoid: too long" in (await client.get("/memory/soul"))["patterns"]
        undo = f"/learning/passes/{done['pass_id']}/undo"
        assert (await client.post(undo, {}))["status"] == "rolled_back"
        assert await found(client, "dog Biscuit") == []
        assert "To avoid: too long" not in (await client.get("/memory/soul"))["patterns"]
        tombs = rows(engine.brain, "SELECT count(*) FROM knowledge_store WHERE forgotten_at > 0")
        assert tombs == [(1,)]
        with pytest.raises(Refused, match="NOT_FOUND"):
            await client.post("/learning/passes/pass-x/undo", {})
        with pytest.raises(Refused, match="TASK_NOT_FOUND"):
            await client.post("/learning/run", {"task_id": "nowhere"})
        drafts = rows(engine.brain, "SELECT count(draft) FROM learning_steps")
        assert drafts == [(0,)], "what is learned is kept in memory alone"
