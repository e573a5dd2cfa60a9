"""What users of other engines suffer from, by the number of the complaint (docs: U1 to U12).

U1, U6, U8: test_crash. U3: test_cancel. U4, U5: test_resume. U9: test_compaction. U10: test_oauth.
U11: test_connectors, and test_stdio of the brain.
"""

from pathlib import Path
from statistics import quantiles

import pytest
import trio

from tests.peers import Call, Say, Wait, provider_peer, script

from .brain import logged, rows, statuses, transcript, unpaired
from .client import Client, Event, Refused, ids, named, phases, text_of
from .figures import note
from .harness import engine_process, peered
from .stage import each_provider, staged

HEALTH_P95_MS = 50.0
"""OpenHands' published budget for /health under load (anchors, section 1.2)."""


def texts(brain: Path) -> list[str]:
    """The texts of the transcript, in order."""
    return [b["text"] for _, blocks in transcript(brain) for b in blocks if b["type"] == "text"]


# --- U2: an approval is durable, expires, is answered once --------------------------------------


async def test_u2_an_approval_expires_and_the_turn_goes_on(tmp_path: Path) -> None:
    outside = str(tmp_path / "outside.txt")
    write = Call("write_file", {"path": outside, "content": "x"})
    replies = script([write], [Say("Then not.")])
    async with staged("anthropic", replies, tmp_path, CHANNEL_STATE_TTL_HITL="1") as stage:
        with trio.fail_after(20):
            events = await stage.client.turn()
        assert phases(events) == ["started", "completed"]
        assert named(events, "hitl_resolved")[0]["by"] == "expiry"
        assert named(events, "tool_result")[0]["error"] == "permission_denied"
        assert (await stage.client.get("/hitl/pending"))["pending"] == []
        assert not (tmp_path / "outside.txt").exists()


async def test_u2_the_same_answer_twice_is_one_and_another_is_refused(tmp_path: Path) -> None:
    ask = Call("ask_user", {"question": "Which one?"})
    async with staged("anthropic", script([ask], [Say("That one.")]), tmp_path) as stage:
        async with stage.client.execute() as stream:
            asked = (await stream.until("hitl_request")).data["request_id"]
            with pytest.raises(Refused) as wrong:
                await stage.client.answer("left", request_id="hitl-of-another-time")
            assert (wrong.value.status, wrong.value.error) == (409, "HITL_MISMATCH")
            first = await stage.client.answer("left", request_id=asked)
            assert await stage.client.answer("left", request_id=asked) == first
            assert await stage.client.answer("left") == first
            with pytest.raises(Refused) as other:
                await stage.client.answer("right", request_id=asked)
            assert (other.value.status, other.value.error) == (409, "HITL_MISMATCH")
            events = await stream.rest()
        assert len(named(events, "hitl_resolved")) == 1
        assert named(events, "tool_result")[0]["output"] == "left"


@each_provider
async def test_u2_two_questions_at_once_are_answered_each_by_its_id(
    provider: str, tmp_path: Path
) -> None:
    questions = [Call("ask_user", {"question": q}) for q in ("Tea?", "Milk?")]
    async with staged(provider, script(questions, [Say("Coming.")]), tmp_path) as stage:
        async with stage.client.execute() as stream:
            asked: dict[str, str] = {}
            while len(asked) < 2:
                request = (await stream.until("hitl_request")).data
                asked[request["question"]] = request["request_id"]
            await stage.client.answer("a drop", request_id=asked["Milk?"])
            await stage.client.answer("yes", request_id=asked["Tea?"])
            events = await stream.rest()
        assert phases(events) == ["started", "completed"]
        results = transcript(stage.brain)[2][1]
        assert [block["content"] for block in results] == ["yes", "a drop"]


# --- U5: ids ------------------------------------------------------------------------------------


async def test_u5_ids_are_one_sequence_without_repetition_however_fast_events_come(
    tmp_path: Path,
) -> None:
    replies = script([Say("x" * 2000, size=1)], repeat=True)
    async with staged("openai", replies, tmp_path) as stage:
        seen: list[Event] = []

        async def run(task_id: str) -> None:
            seen.extend(await stage.client.turn(task_id=task_id))

        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(run, f"task-{number}")
        assert sorted(ids(seen)) == list(range(1, len(seen) + 1))


# --- U7: two requests on one conversation -------------------------------------------------------


async def test_u7_of_many_requests_at_once_for_a_task_one_runs_and_the_rest_are_told(
    tmp_path: Path,
) -> None:
    replies = script([Say("One"), Wait("end")], repeat=True)
    async with staged("anthropic", replies, tmp_path) as stage:
        outcomes: list[str] = []

        async def post(message: str) -> None:
            try:
                async with stage.client.execute(message) as stream:
                    await stream.until("text_delta")
                    stage.peer.release("end")
                    outcomes.append(phases(await stream.rest())[-1])
            except Refused as refused:
                outcomes.append(refused.error)
                assert refused.status == 409

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(post, f"message {number}")
        assert outcomes.count("completed") >= 1
        assert set(outcomes) <= {"completed", "TASK_BUSY"}
        assert outcomes.count("completed") == len(stage.peer.requests)
        assert statuses(stage.brain) == ["completed"] * len(stage.peer.requests)


async def test_u7_ten_turns_in_line_run_one_after_another(tmp_path: Path) -> None:
    async with staged("anthropic", script([Say("Yes.")], repeat=True), tmp_path) as stage:

        async def post(message: str) -> None:
            events = await stage.client.turn(message, on_busy="queue")
            assert phases(events) == ["started", "completed"]

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(post, f"message {number}")
        said = texts(stage.brain)
        assert said[1::2] == ["Yes."] * 10
        assert sorted(said[::2]) == [f"message {number}" for number in range(10)]
        events = logged(stage.brain)
        assert phases(events) == ["started", "completed"] * 10


# --- U8: nothing is running without an owner ----------------------------------------------------


async def test_u8_after_a_kill_no_turn_is_running_and_health_says_so(tmp_path: Path) -> None:
    replies = script([Say("Once"), Wait("never")], repeat=True)
    async with provider_peer("anthropic", replies) as peer:
        env = peered(tmp_path, peer)
        async with engine_process(env) as doomed, Client(doomed.url) as client:
            async with trio.open_nursery() as nursery:
                for number in range(4):
                    nursery.start_soon(read_to_the_end, client, f"task-{number}")
                await peer.wait_request(3)
                await doomed.kill()
        async with engine_process(env) as engine, Client(engine.url) as client:
            activity = (await client.get("/health"))["activity"]
            assert (activity["running_turns"], activity["queued_turns"]) == (0, 0)
            open_turns = "SELECT count(*) FROM turns WHERE ended_at IS NULL"
            assert rows(tmp_path / "brain.sqlite", open_turns) == [(0,)]


async def read_to_the_end(client: Client, task_id: str) -> None:
    """Run a turn until its stream ends or breaks."""
    async with client.execute(task_id=task_id) as stream:
        await stream.rest()


# --- editing and trying again -------------------------------------------------------------------


@each_provider
async def test_an_edit_in_the_middle_replaces_what_came_after(
    provider: str, tmp_path: Path
) -> None:
    write = Call("write_file", {"path": "note.txt", "content": "x"})
    replies = script([Say("A1")], [write], [Say("A2")], [Say("A3")], [Say("B2")], [Say("B3")])
    async with staged(provider, replies, tmp_path) as stage:
        await stage.client.turn("q1")
        second = await stage.client.turn("q2")
        await stage.client.turn("q3")
        message_id = named(second, "thread_lifecycle")[0]["message_id"]
        edited = await stage.client.turn("q2, better", edit_message_id=message_id)
        assert phases(edited) == ["started", "completed"]
        assert texts(stage.brain) == ["q1", "A1", "q2, better", "B2"]
        await stage.client.turn("q3, again")
        assert texts(stage.brain) == ["q1", "A1", "q2, better", "B2", "q3, again", "B3"]
        assert "q3" not in str(stage.peer.requests[4].body)
        kept = rows(stage.brain, "SELECT count(*) FROM messages WHERE superseded_at IS NOT NULL")
        assert kept == [(6,)]  # out of force, not deleted
        with pytest.raises(Refused) as gone:
            await stage.client.turn("q2, once more", edit_message_id=message_id)
        assert (gone.value.status, gone.value.error) == (400, "INVALID_REQUEST")
        assert unpaired(stage.brain) == []


@each_provider
async def test_a_retry_in_the_middle_answers_the_same_message_again(
    provider: str, tmp_path: Path
) -> None:
    replies = script([Say("A1")], [Say("A2")], [Say("A3")], [Say("B2")])
    async with staged(provider, replies, tmp_path) as stage:
        await stage.client.turn("q1")
        second = await stage.client.turn("q2")
        await stage.client.turn("q3")
        message_id = named(second, "thread_lifecycle")[0]["message_id"]
        again = await stage.client.turn("ignored", retry_message_id=message_id)
        assert phases(again) == ["started", "completed"]
        assert named(again, "thread_lifecycle")[0]["message_id"] == message_id
        assert texts(stage.brain) == ["q1", "A1", "q2", "B2"]
        shown = str(stage.peer.requests[3].body)
        assert "q2" in shown and "q3" not in shown and "A2" not in shown


async def test_a_retry_of_an_answer_is_one_of_its_question(tmp_path: Path) -> None:
    async with staged("anthropic", script([Say("A1")], [Say("B1")]), tmp_path) as stage:
        await stage.client.turn("q1")
        answer = (await stage.client.messages())[-1]
        assert answer["role"] == "assistant"
        events = await stage.client.turn("ignored", retry_message_id=answer["message_id"])
        assert text_of(events) == "B1"
        assert texts(stage.brain) == ["q1", "B1"]


# --- U12: the loop is never held up -------------------------------------------------------------

STREAMS = 20
PROBES = 200


async def test_u12_health_answers_while_twenty_turns_stream(tmp_path: Path) -> None:
    text = [Say("x" * 20_000, size=4, every=0.02)]  # 50 pieces a second, as a quick model
    async with (
        provider_peer("openai", script(text, repeat=True)) as peer,
        engine_process(peered(tmp_path, peer, TASK_SLOTS=str(STREAMS))) as engine,
        Client(engine.url) as client,
        trio.open_nursery() as nursery,
    ):
        for number in range(STREAMS):
            nursery.start_soon(read_to_the_end, client, f"task-{number}")
        await peer.wait_request(7)  # as many as may be under way at once at one provider
        took = [await probed(client) for _ in range(PROBES)]
        nursery.cancel_scope.cancel()
    p95 = quantiles(took, n=20)[-1]
    note(f"/health beside {STREAMS} turns", f"p95 {p95:.1f} ms, max {max(took):.1f} ms")
    assert p95 < HEALTH_P95_MS


async def probed(client: Client) -> float:
    """Milliseconds that /health takes."""
    began = trio.current_time()
    health = await client.get("/health")
    took = (trio.current_time() - began) * 1000
    assert health["status"] == "ok"
    assert health["activity"]["running_turns"] == STREAMS
    return took
