"""Sub-agents: in the same turn and stream, told apart, stored, cancelled, taken up, bounded."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import trio

from september.brain.catalog import catalog_root
from tests.peers import Call, Peer, Received, Say, Wait, provider_peer, script

from .brain import rows, transcript, unpaired
from .client import Client, Event, named, phases
from .harness import engine_process, peered
from .stage import check_brain, each_provider, staged
from .waiting import until

RESEARCH = Call("agent.researcher", {"task": "Find out how far the moon is."})
NOTE = Call("write_file", {"path": "moon.txt", "content": "384400"})
MANY = 8


def inner(events: list[Event]) -> list[Event]:
    """The events of sub-agents."""
    return [event for event in events if "sub_agent" in event.data]


def outer(events: list[Event]) -> list[Event]:
    """The events of the agent itself."""
    return [event for event in events if "sub_agent" not in event.data]


def spoken(events: list[Event]) -> str:
    """The text in these events."""
    return "".join(event.data["text"] for event in events if event.name == "text_delta")


def nested_tasks(brain: Path) -> list[tuple[str, str]]:
    """Task and status of each sub-agent, in the order in which they began."""
    return [
        (str(task), str(status))
        for task, status in rows(
            brain,
            "SELECT task_id, status FROM turns WHERE parent_turn_id IS NOT NULL"
            " ORDER BY created_at",
        )
    ]


def tools_of(request: Received) -> set[str]:
    """The names of the tools that a request offers (OpenAI's form)."""
    return {tool["function"]["name"] for tool in request.body.get("tools", ())}


@each_provider
async def test_a_sub_agent_works_in_the_same_turn_and_is_told_apart(
    provider: str, tmp_path: Path
) -> None:
    replies = script(
        [Say("I ask. "), RESEARCH], [Say("Noting. "), NOTE], [Say("384,400 km.")], [Say("Far.")]
    )
    async with staged(provider, replies, tmp_path) as stage:
        events = await stage.client.turn()
        assert (stage.workspace / "moon.txt").read_text() == "384400"
        listed = await stage.client.get("/conversations")
        assert [one["task_id"] for one in listed["conversations"]] == ["task"]
        ((nested, status),) = nested_tasks(stage.brain)
        kept = await stage.client.messages(nested)
        replayed = await stage.client.replayed(0, task_id="task")
    assert phases(events) == ["started", "completed"] and replayed == events
    assert spoken(outer(events)) == "I ask. Far."
    assert spoken(inner(events)) == "Noting. 384,400 km."
    (call, own_call), (own_result, result) = (
        named(events, "tool_call"),
        named(events, "tool_result"),
    )
    assert call["tool"] == result["tool"] == "agent.researcher"
    assert result["output"] == "384,400 km." and "sub_agent" not in result
    who = {"agent": "researcher", "call_id": call["tool_call_id"]}
    assert own_call["sub_agent"] == own_result["sub_agent"] == who
    assert len(named(events, "usage")) == 4 and len(inner(events)) > 6
    assert status == "completed"
    assert [message["role"] for message in kept] == ["user", "assistant", "user", "assistant"]
    assert kept[0]["blocks"][0]["text"] == RESEARCH.input["task"]
    assert unpaired(stage.brain, nested) == []
    assert len(transcript(stage.brain)) == 4


async def test_eight_sub_agents_work_at_the_same_time(tmp_path: Path) -> None:
    """Each waits until all have asked their model: one after the other, none would end."""
    asks = [Call("agent.writer", {"task": f"Part {n}"}) for n in range(MANY)]
    replies = script(asks, *[[Wait("all"), Say("Done.")]] * MANY, [Say("All done.")])
    async with staged("openai", replies, tmp_path) as stage:
        async with stage.client.execute() as stream, trio.open_nursery() as nursery:
            nursery.start_soon(_release_when_all_are_there, stage.peer)
            events = await stream.rest()
    assert [one["output"] for one in named(events, "tool_result")] == ["Done."] * MANY
    assert len({event.data["sub_agent"]["call_id"] for event in inner(events)}) == MANY
    assert len(nested_tasks(stage.brain)) == MANY


async def _release_when_all_are_there(peer: Peer) -> None:
    await until(lambda: len(peer.requests) == 1 + MANY, within=30)
    peer.release("all")


async def test_more_sub_agents_than_slots_take_turns(tmp_path: Path) -> None:
    asks = [Call("agent.writer", {"task": f"Part {n}"}) for n in range(4)]
    replies = script(asks, *[[Say("Done.")]] * 4, [Say("All done.")])
    async with staged("openai", replies, tmp_path, SUB_AGENT_SLOTS="1") as stage:
        events = await stage.client.turn()
    assert [one["output"] for one in named(events, "tool_result")] == ["Done."] * 4


async def test_a_cancel_reaches_a_sub_agent_and_its_transcript_stays_valid(tmp_path: Path) -> None:
    replies = script([RESEARCH], [Say("I begin. "), NOTE], [Say("Half a sen"), Wait("never")])
    async with staged("anthropic", replies, tmp_path) as stage:
        async with stage.client.execute() as stream:
            await stream.until(lambda _: "Half a sen" in spoken(stream.seen))
            await stage.client.cancel()
            events = await stream.rest()
        with trio.fail_after(5):
            await stage.peer.requests[2].closed.wait()
        assert stage.peer.requests[2].closed_by == "client"
        ((nested, status),) = nested_tasks(stage.brain)
        kept = transcript(stage.brain, nested)
    assert phases(events) == ["started", "cancelled"] and status == "cancelled"
    assert unpaired(stage.brain, nested) == unpaired(stage.brain, "task") == []
    assert kept[-1] == ("assistant", [{"type": "text", "text": "Half a sen"}])
    assert all("Half" not in str(blocks) for _, blocks in transcript(stage.brain))


async def test_a_question_of_a_sub_agent_survives_a_killed_engine(tmp_path: Path) -> None:
    ask = Call("ask_user", {"question": "Which moon?"})
    replies = script([RESEARCH], [NOTE], [ask], [Say("Ours is near.")], [Say("Near, then.")])
    async with provider_peer("openai", replies) as peer:
        env = peered(tmp_path, peer)
        async with engine_process(env) as engine, Client(engine.url) as client:
            async with client.execute() as stream:
                asked = (await stream.until("hitl_request")).data
            await engine.kill()
        async with engine_process(env) as engine, Client(engine.url) as client:
            (waiting,) = (await client.get("/hitl/pending"))["pending"]
            assert waiting["request_id"] == asked["request_id"] and waiting["task_id"] == "task"
            async with client.replay(0, task_id="task") as stream:
                await stream.until("hitl_request")
                await client.answer("ours")
                events = await stream.rest()
        assert [request.refused for request in peer.requests if request.refused] == []
    brain = tmp_path / "brain.sqlite"
    check_brain(brain)
    ((nested, status),) = nested_tasks(brain)
    assert phases(events)[-1] == "completed" and status == "completed"
    assert spoken(outer(events)) == "Near, then." and spoken(inner(events)) == "Ours is near."
    assert len([one for one in named(events, "tool_call") if one["tool"] == "write_file"]) == 1
    assert unpaired(brain, nested) == []
    assert len(transcript(brain, nested)) == 6


async def test_a_sub_agent_has_a_budget_and_the_agent_goes_on(tmp_path: Path) -> None:
    replies = script([RESEARCH], [NOTE], [Say("More. "), NOTE], [Say("Without, then.")])
    flags = {"SUB_AGENT_MAX_ITERATIONS": "2"}
    async with staged("gemini", replies, tmp_path, **flags) as stage:
        events = await stage.client.turn()
        ((nested, status),) = nested_tasks(stage.brain)
    (result,) = [one for one in named(events, "tool_result") if one["tool"] == "agent.researcher"]
    assert result["error"] == "iteration_limit" and "More." in result["output"]
    assert phases(events) == ["started", "completed"] and status == "errored"
    assert unpaired(stage.brain, nested) == []


async def test_a_sub_agent_that_writes_too_much_is_stopped(tmp_path: Path) -> None:
    replies = script([RESEARCH], [Say("word " * 200)], [Say("Enough.")])
    async with staged("openai", replies, tmp_path, SUB_AGENT_MAX_TOKENS="50") as stage:
        events = await stage.client.turn()
    (result,) = named(events, "tool_result")
    assert result["error"] == "iteration_limit" and "SUB_AGENT_MAX_TOKENS" in result["output"]


def _catalog(folder: Path, **assistant: Any) -> str:
    """The stock catalog with another assistant."""
    shutil.copytree(str(catalog_root(None)), folder)
    changed = folder / "agents" / "assistant" / "agent.json"
    changed.write_text(json.dumps({**json.loads(changed.read_text()), **assistant}))
    writer = folder / "agents" / "writer" / "agent.json"
    calls = {**json.loads(writer.read_text()), "agents": ["researcher"]}
    writer.write_text(json.dumps(calls))
    return str(folder)


async def test_sub_agents_call_others_down_to_a_depth(tmp_path: Path) -> None:
    write = Call("agent.writer", {"task": "Write about the moon."})
    replies = script([write], [RESEARCH], [Say("Far.")], [Say("It is far.")], [Say("Done.")])
    flags = {"CATALOG_DIR": _catalog(tmp_path / "catalog")}
    async with staged("openai", replies, tmp_path, **flags) as stage:
        events = await stage.client.turn()
        await stage.client.http.delete("/conversations/task")
    paths = {one["sub_agent"]["call_id"].count("/") for one in map(_data, inner(events))}
    assert paths == {0, 1}
    offered = [
        {name for name in tools_of(request) if "agent" in name} for request in stage.peer.requests
    ]
    assert offered[1] and not offered[2], "the deepest calls nobody"
    left = "SELECT (SELECT count(*) FROM conversations), (SELECT count(*) FROM turns)"
    assert rows(stage.brain, left) == [(0, 0)]


def _data(event: Event) -> dict[str, Any]:
    return event.data


PLAN = Call("agent.planner", {"task": "Plan the move of the database."})


async def test_the_planner_is_offered_when_configured_and_not_direct(tmp_path: Path) -> None:
    replies = script(
        [Say("Hi.")], [Say("Hi.")], [PLAN], [Say("1. Stop. 2. Copy. 3. Start.")], [Say("Planned.")]
    )
    async with staged("openai", replies, tmp_path, PLANNER_MODEL="gpt-6-planner") as stage:
        await stage.client.turn("Hello")
        await stage.client.turn("Hello", direct=True)
        events = await stage.client.turn("Move the database")
    planners = [
        any("planner" in name for name in tools_of(request)) for request in stage.peer.requests
    ]
    models = [request.body["model"] for request in stage.peer.requests]
    assert planners == [True, False, True, False, True]
    assert [model == "gpt-6-planner" for model in models] == [False, False, False, True, False]
    assert spoken(inner(events)) == "1. Stop. 2. Copy. 3. Start."


@pytest.mark.parametrize("answer", ["yes", "first copy, then stop"])
async def test_a_plan_is_shown_for_approval_where_the_agent_asks_for_it(
    answer: str, tmp_path: Path
) -> None:
    replies = script([PLAN], [Say("1. Stop. 2. Copy.")], [Say("As you say.")])
    flags = {
        "PLANNER_MODEL": "gpt-6-planner",
        "CATALOG_DIR": _catalog(tmp_path / "catalog", approve_plan=True),
    }
    async with staged("openai", replies, tmp_path, **flags) as stage:
        async with stage.client.execute() as stream:
            asked = (await stream.until("hitl_request")).data
            assert (asked["kind"], asked["question"]) == ("plan", "1. Stop. 2. Copy.")
            await stage.client.answer(answer)
            events = await stream.rest()
    (result,) = named(events, "tool_result")
    assert result["error"] == (None if answer == "yes" else "plan_rejected")
    assert ("has approved" if answer == "yes" else answer) in result["output"]


async def test_without_a_planner_model_nobody_pays_for_one(tmp_path: Path) -> None:
    async with staged("openai", script(Say("Hi.")), tmp_path) as stage:
        await stage.client.turn("Move the database")
    assert not any("planner" in name for name in tools_of(stage.peer.requests[0]))


async def test_a_kill_in_the_middle_of_a_sub_agent_leaves_both_transcripts_valid(
    tmp_path: Path,
) -> None:
    replies = script([RESEARCH], [Say("I begin. "), NOTE], [Say("Half a sen"), Wait("never")])
    async with provider_peer("openai", replies) as peer:
        env = peered(tmp_path, peer)
        async with engine_process(env) as engine, Client(engine.url) as client:
            async with client.execute() as stream:
                await stream.until(lambda _: "Half a sen" in spoken(stream.seen))
                await engine.kill()
        async with engine_process(env) as engine, Client(engine.url) as client:
            events = await client.replayed(0, task_id="task")
    brain = tmp_path / "brain.sqlite"
    check_brain(brain)
    ((nested, status),) = nested_tasks(brain)
    assert phases(events) == ["started", "errored"]
    assert named(events, "error")[0]["error"] == "INTERRUPTED"
    assert status == "cancelled" and unpaired(brain, nested) == []
    assert transcript(brain, nested)[-1] == ("assistant", [{"type": "text", "text": "Half a sen"}])
