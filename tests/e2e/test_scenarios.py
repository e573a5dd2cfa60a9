"""The same eight scenarios for all three providers, from the socket of one to the socket of us."""

from pathlib import Path

import trio

from tests.peers import Call, Cut, RateLimit, Say, Think, script

from .brain import transcript
from .client import Event, named, phases, text_of
from .stage import each_provider, staged

ASK = Call("ask_user", {"question": "Tea or coffee?", "options": ["tea", "coffee"]})


def order(events: list[Event], *names: str) -> list[str]:
    """The names of the events, of these kinds only."""
    return [event.name for event in events if event.name in names]


@each_provider
async def test_plain_text_streams_and_is_kept(provider: str, tmp_path: Path) -> None:
    async with staged(provider, script([Say("It is noon, as always.")]), tmp_path) as stage:
        events = await stage.client.turn("What time is it?")
    assert phases(events) == ["started", "completed"]
    assert text_of(events) == "It is noon, as always."
    assert len(named(events, "text_delta")) > 1
    (usage,) = named(events, "usage")
    assert usage["provider"] == provider and usage["output_tokens"] > 0
    assert [(role, blocks[0]["text"]) for role, blocks in transcript(stage.brain)] == [
        ("user", "What time is it?"),
        ("assistant", "It is noon, as always."),
    ]


@each_provider
async def test_thinking_streams_apart_from_text_and_survives_into_the_next_turn(
    provider: str, tmp_path: Path
) -> None:
    replies = script([Think("Let me see."), Say("Four.")], [Say("Still four.")])
    async with staged(provider, replies, tmp_path) as stage:
        events = await stage.client.turn("Two and two?", super_thinking=True)
        again = await stage.client.turn("Sure?", super_thinking=True)
    assert "".join(e["text"] for e in named(events, "thinking_delta")) == "Let me see."
    assert text_of(events) == "Four."
    started = [e["block_type"] for e in named(events, "content_block_start")]
    assert list(dict.fromkeys(started)) == ["thinking", "text"]
    assert text_of(again) == "Still four."


@each_provider
async def test_one_tool_runs_and_the_model_hears_its_result(provider: str, tmp_path: Path) -> None:
    write = Call("write_file", {"path": "note.txt", "content": "remember"})
    async with staged(
        provider, script([Say("Noting."), write], [Say("Noted.")]), tmp_path
    ) as stage:
        events = await stage.client.turn()
        assert (stage.workspace / "note.txt").read_text() == "remember"
    assert phases(events) == ["started", "completed"]
    assert order(events, "tool_call", "tool_result", "usage") == [
        "tool_call",
        "usage",
        "tool_result",
        "usage",
    ]
    (call,), (result,) = named(events, "tool_call"), named(events, "tool_result")
    assert call["tool"] == result["tool"] == "write_file"
    assert call["tool_call_id"] == result["tool_call_id"]
    assert call["input"] == {"path": "note.txt", "content": "remember"}
    assert result["error"] is None and result["truncated"] is False
    assert len(stage.peer.requests) == 2


@each_provider
async def test_five_tools_run_at_once_and_are_answered_in_call_order(
    provider: str, tmp_path: Path
) -> None:
    # Each waits for the one after it: only if all five run at once does any end, last one first.
    waits = [f"until [ -e {n + 1} ]; do sleep 0.01; done; touch {n}" for n in range(4)]
    commands = [*waits, "touch 4"]
    calls = [Call("bash", {"command": command}) for command in commands]
    async with staged(provider, script([*calls], [Say("All five.")]), tmp_path) as stage:
        with trio.fail_after(60):
            events = await stage.client.turn()
    assert phases(events) == ["started", "completed"]
    assert [e["input"]["command"] for e in named(events, "tool_call")] == commands
    called = [e["tool_call_id"] for e in named(events, "tool_call")]
    told = [e["tool_call_id"] for e in named(events, "tool_result")]
    assert sorted(told) == sorted(called) and told != called  # the client hears as each ends
    results = transcript(stage.brain)[2][1]
    assert [block["tool_use_id"] for block in results] == called  # the model in call order
    assert not any(block.get("is_error") for block in results)


@each_provider
async def test_a_tool_that_fails_is_an_answer_not_the_end(provider: str, tmp_path: Path) -> None:
    replies = script(
        [Call("read_file", {"path": "missing.txt"}), Call("read_file", {"pth": "x"})],
        [Say("There is no such file.")],
    )
    async with staged(provider, replies, tmp_path) as stage:
        events = await stage.client.turn()
    assert phases(events) == ["started", "completed"]
    assert text_of(events) == "There is no such file."
    errors = {e["error"] for e in named(events, "tool_result")}
    assert "invalid_input" in errors and None not in errors
    assert len(named(events, "tool_error")) == 2
    blocks = transcript(stage.brain)[2][1]
    assert all(block["is_error"] for block in blocks)


@each_provider
async def test_a_question_waits_for_its_answer(provider: str, tmp_path: Path) -> None:
    async with staged(provider, script([ASK], [Say("Tea it is.")]), tmp_path) as stage:
        async with stage.client.execute() as stream:
            asked = (await stream.until("hitl_request")).data
            assert (asked["kind"], asked["question"]) == ("question", "Tea or coffee?")
            assert (await stage.client.get("/hitl/pending"))["pending"] == [asked]
            resumed = await stage.client.answer("tea", request_id=asked["request_id"])
            events = await stream.rest()
    assert resumed == {"status": "resumed", "request_id": asked["request_id"]}
    assert named(events, "hitl_resolved") == [
        {
            "request_id": asked["request_id"],
            "task_id": "task",
            "answer": "tea",
            "by": "user",
        }
    ]
    assert named(events, "tool_result")[0]["output"] == "tea"
    assert phases(events) == ["started", "completed"]


@each_provider
async def test_a_permission_that_is_given_lets_the_tool_run(provider: str, tmp_path: Path) -> None:
    await _permission(provider, tmp_path, "yes", outcome=None)
    assert (tmp_path / "outside" / "it.txt").read_text() == "hello"


@each_provider
async def test_a_permission_that_is_refused_keeps_the_tool_from_running(
    provider: str, tmp_path: Path
) -> None:
    await _permission(provider, tmp_path, "no", outcome="permission_denied")
    assert not (tmp_path / "outside" / "it.txt").exists()


async def _permission(provider: str, tmp_path: Path, answer: str, outcome: str | None) -> None:
    """A file outside the roots: asked, answered, and gone on from there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    write = Call("write_file", {"path": str(outside / "it.txt"), "content": "hello"})
    async with staged(provider, script([write], [Say("So be it.")]), tmp_path) as stage:
        async with stage.client.execute() as stream:
            asked = (await stream.until("hitl_request")).data
            assert (asked["kind"], asked["tool"]) == ("permission", "write_file")
            assert not (outside / "it.txt").exists()
            await stage.client.answer(answer)
            events = await stream.rest()
    assert order(events, "permission_prompt", "hitl_request", "hitl_resolved", "tool_result") == [
        "permission_prompt",
        "hitl_request",
        "hitl_resolved",
        "tool_result",
    ]
    assert named(events, "tool_result")[0]["error"] == outcome
    assert phases(events) == ["started", "completed"]


@each_provider
async def test_a_rate_limit_is_waited_out(provider: str, tmp_path: Path) -> None:
    replies = script(RateLimit(retry_after=0.2), [Say("Sorry to keep you.")])
    async with staged(provider, replies, tmp_path) as stage:
        events = await stage.client.turn()
    refused, answered = stage.peer.requests
    assert answered.at - refused.at >= 0.2
    assert phases(events) == ["started", "completed"]
    assert text_of(events) == "Sorry to keep you."


@each_provider
async def test_a_cut_ends_the_turn_keeps_what_was_seen_and_the_next_turn_works(
    provider: str, tmp_path: Path
) -> None:
    replies = script([Say("The answer is"), Cut()], [Say("Forty-two.")])
    async with staged(provider, replies, tmp_path) as stage:
        events = await stage.client.turn("What is it?")
        assert phases(events) == ["started", "errored"]
        assert events[-1].name == "error"
        assert events[-1].data["error"] == "LLM_PROVIDER_ERROR"
        seen = text_of(events)
        assert seen and "The answer is".startswith(seen)
        assert transcript(stage.brain)[-1] == ("assistant", [{"type": "text", "text": seen}])
        again = await stage.client.turn("Go on.")
    assert phases(again) == ["started", "completed"]
    assert text_of(again) == "Forty-two."
    assert stage.peer.requests[0].closed_by == "peer"
