"""Answers to permission prompts: once, for a task, always; listed, taken back, never forgotten."""

from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.peers import Call, Say, provider_peer, script

from .brain import rows
from .client import Client, Refused, named
from .harness import peered, settings
from .served import served

TASK = "yes, for this task"
ALWAYS = "yes, always"
COMMAND = "chmod -R u+w ."
ASKED = Call("bash", {"command": COMMAND})


async def turn(client: Client, answers: list[str], task_id: str = "task") -> list[Any]:
    """A turn whose questions get these answers; the results of its tools."""
    async with client.execute(task_id=task_id) as stream:
        for answer in answers:
            asked = (await stream.until("hitl_request")).data
            assert asked["options"] == ["yes", TASK, ALWAYS, "no"]
            await client.answer(answer, task_id)
        events = await stream.rest()
    assert len(named(events, "hitl_request")) == len(answers)
    return [result["error"] for result in named(events, "tool_result")]


async def test_an_answer_holds_once_for_a_task_or_always(tmp_path: Path) -> None:
    calls = [reply for _ in range(9) for reply in ([ASKED], [Say("Done.")])]
    async with provider_peer("openai", script(*calls)) as peer:
        env = peered(tmp_path, peer)
        async with served(env) as engine:
            client = engine.client
            assert await turn(client, ["yes"]) == [None]
            assert await turn(client, ["no"]) == ["permission_denied"]
            assert await turn(client, [TASK]) == [None]
            assert await turn(client, []) == [None], "the task has its answer"
            assert await turn(client, ["no"], "another") == ["permission_denied"]
            assert await turn(client, [ALWAYS], "another") == [None]
            assert await turn(client, [], "third") == [None]
        async with served(env) as engine:
            client = engine.client
            assert await turn(client, [], "fourth") == [None], "a restart forgets nothing"
            permits = (await client.get("/permissions"))["permits"]
            assert [(one["scope"], one["task_id"], one["subject"]) for one in permits] == [
                ("task", "task", COMMAND),
                ("always", None, COMMAND),
            ]
            for one in permits:
                assert (await delete(client, one["permit_id"])).json()["status"] == "revoked"
            assert await turn(client, ["no"], "third") == ["permission_denied"]
            assert (await delete(client, permits[0]["permit_id"])).status_code == 404
            await check_decisions(client)
    kept = rows(engine.brain, "SELECT kind FROM observability_events WHERE kind LIKE 'permission%'")
    assert len(kept) == 3


async def check_decisions(client: Client) -> None:
    decisions = (await client.get("/permissions/decisions"))["decisions"]
    assert [(one["outcome"], one["scope"]) for one in reversed(decisions)] == [
        ("granted", None),
        ("refused", None),
        ("granted", "task"),
        ("remembered", None),
        ("refused", None),
        ("granted", "always"),
        ("remembered", None),
        ("remembered", None),
        ("refused", None),
    ]
    assert {one["concern"] for one in decisions} == {"opens_up"}
    third = (await client.get("/permissions/decisions", task_id="third", limit=1))["decisions"]
    assert [(one["outcome"], one["reason"]) for one in third] == [
        ("refused", "it runs chmod recursively")
    ]


async def delete(client: Client, permit_id: str) -> httpx2.Response:
    return await client.http.delete(f"/permissions/{permit_id}")


async def test_what_is_free_is_noted_too_and_goes_with_its_conversation(tmp_path: Path) -> None:
    replies = script([Call("bash", {"command": "echo hi"})], [ASKED], [Say("Done.")])
    async with (
        provider_peer("openai", replies) as peer,
        served(peered(tmp_path, peer)) as engine,
    ):
        assert await turn(engine.client, [TASK]) == [None, None]
        decisions = (await engine.client.get("/permissions/decisions"))["decisions"]
        assert [one["outcome"] for one in decisions] == ["granted", "allowed"]
        await engine.client.http.delete("/conversations/task")
        assert (await engine.client.get("/permissions/decisions"))["decisions"] == []
        assert (await engine.client.get("/permissions"))["permits"] == []


async def test_a_bad_limit_is_refused_by_name(tmp_path: Path) -> None:
    async with served(settings(tmp_path)) as engine:
        with pytest.raises(Refused) as refused:
            await engine.client.get("/permissions/decisions", limit=0)
        assert "limit" in refused.value.text


async def test_a_policy_for_the_network_asks_and_the_answer_is_remembered(tmp_path: Path) -> None:
    call = Call("bash", {"command": "curl -s http://127.0.0.1:9/ || true"})
    replies = script([call], [Say("Done.")], [call], [Say("Done.")])
    async with (
        provider_peer("openai", replies) as peer,
        served(peered(tmp_path, peer, NETWORK_ALLOW="pypi.org")) as engine,
    ):
        assert await turn(engine.client, [ALWAYS]) == [None]
        assert await turn(engine.client, [], "another") == [None]
        decisions = (await engine.client.get("/permissions/decisions"))["decisions"]
    assert {one["concern"] for one in decisions} == {"network"}
