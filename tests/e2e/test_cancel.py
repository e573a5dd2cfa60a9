"""Cancel in every phase of a turn: at once, completely, and the next turn works."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.peers import KEY as PEER_KEY
from tests.peers import Call, RateLimit, Say, Stall, Think, Wait, script
from tests.peers.wire import Received

from .brain import everything_of, transcript, unpaired, writing
from .client import Client, Event, Refused, Stream, named, phases, text_of
from .crash import processes, wait_gone
from .figures import note, spread
from .harness import pointed
from .served import served
from .stage import Stage, check_brain, each_provider, staged
from .waiting import until, until_told

WITHIN_S = 1.0
"""Seconds that a cancel may take (contract, section 19.3)."""

LATENCIES: list[float] = []
"""Milliseconds from the cancel's request to the end of the stream, over all tests here."""

NEXT = [Say("At your service.")]


async def cancel(client: Client, stream: Stream, task_id: str = "task") -> list[Event]:
    """Cancel, and read the stream to its end, all within the time allowed."""
    began = trio.current_time()
    with trio.fail_after(WITHIN_S):
        answer = await client.cancel(task_id)
        events = await stream.rest()
    LATENCIES.append((trio.current_time() - began) * 1000)
    note("cancel, request to end of stream", spread(LATENCIES))
    assert (answer["status"], answer["task_id"]) == ("cancelled", task_id)
    assert phases(events)[-1] == "cancelled" and events[-1].name == "thread_lifecycle"
    assert answer["turn_id"] == events[-1].data["turn_id"]
    return events


async def closed(request: Received) -> None:
    """The provider sees its socket closed by the Engine, in time."""
    with trio.fail_after(WITHIN_S):
        await request.closed.wait()
    assert request.closed_by == "client"


async def check_aftermath(stage: Stage, *gates: str) -> None:
    """Nothing of the turn goes on, whatever its provider still says; the next turn works."""
    before = everything_of(stage.brain)
    assert unpaired(stage.brain) == []
    for gate in gates:
        stage.peer.release(gate)
    # Another task's turn passes through every actor: what was on its way has arrived by then.
    assert phases(await stage.client.turn(task_id="other")) == ["started", "completed"]
    assert everything_of(stage.brain) == before
    events = await stage.client.turn("Again.")
    assert phases(events) == ["started", "completed"]
    assert text_of(events) == "At your service."


@each_provider
async def test_cancel_in_the_queue(provider: str, tmp_path: Path) -> None:
    replies = script([Say("Busy"), Wait("end")], NEXT, repeat=True)
    async with staged(provider, replies, tmp_path, TASK_SLOTS="1") as stage:
        async with stage.client.execute(task_id="busy") as busy:
            await busy.until("text_delta")
            async with stage.client.execute() as stream:
                assert (await anext(stream)).data["queued"] == 1
                events = await cancel(stage.client, stream)
            assert phases(events) == ["cancelled"]
            assert len(stage.peer.requests) == 1
            stage.peer.release("end")
            assert phases(await busy.rest()) == ["started", "completed"]
        await check_aftermath(stage)


@each_provider
async def test_cancel_before_the_providers_headers(provider: str, tmp_path: Path) -> None:
    async with mute_server() as mute, served(mute.settings(provider, tmp_path)) as engine:
        async with engine.client.execute() as stream:
            await mute.asked.wait()
            events = await cancel(engine.client, stream)
            assert phases(events) == ["started", "cancelled"]
            with trio.fail_after(WITHIN_S):
                await mute.left.wait()
        before = everything_of(engine.brain)
    assert everything_of(tmp_path / "brain.sqlite") == before
    check_brain(tmp_path / "brain.sqlite")


@each_provider
async def test_cancel_in_mid_text_keeps_what_was_seen(provider: str, tmp_path: Path) -> None:
    replies = script([Say("Once upon a time"), Wait("end"), Say("The end.")], NEXT, repeat=True)
    async with staged(provider, replies, tmp_path) as stage:
        async with stage.client.execute() as stream:
            await stream.until("text_delta")
            events = await cancel(stage.client, stream)
            await closed(stage.peer.requests[0])
        seen = text_of(events)
        assert seen and "Once upon a time".startswith(seen)
        assert transcript(stage.brain)[-1] == ("assistant", [{"type": "text", "text": seen}])
        await check_aftermath(stage, "end")


@each_provider
async def test_cancel_in_mid_thought(provider: str, tmp_path: Path) -> None:
    replies = script([Think("Let me see"), Stall()], NEXT, repeat=True)
    async with staged(provider, replies, tmp_path) as stage:
        async with stage.client.execute(super_thinking=True) as stream:
            await stream.until("thinking_delta")
            await cancel(stage.client, stream)
            await closed(stage.peer.requests[0])
        await check_aftermath(stage)


@each_provider
async def test_cancel_in_silence(provider: str, tmp_path: Path) -> None:
    async with staged(provider, script([Stall()], NEXT, repeat=True), tmp_path) as stage:
        async with stage.client.execute() as stream:
            request = await stage.peer.wait_request()
            events = await cancel(stage.client, stream)
            await closed(request)
        assert text_of(events) == ""
        await check_aftermath(stage)


@each_provider
async def test_u3_cancel_with_a_command_running_ends_its_whole_process_tree(
    provider: str, tmp_path: Path
) -> None:
    beat = "while :; do echo x >> beat; sleep 0.02; done"
    command = f"setsid bash -c '{beat}' & until [ -e never ]; do sleep 0.02; done"
    both = [Call("bash", {"command": command}), Call("bash", {"command": "echo quick"})]
    async with staged(provider, script(both, NEXT, repeat=True), tmp_path) as stage:
        async with stage.client.execute() as stream:
            await stream.until("tool_result")
            await until((stage.workspace / "beat").exists)
            assert processes(tmp_path)
            events = await cancel(stage.client, stream)
            await wait_gone(tmp_path, WITHIN_S)
        size = (stage.workspace / "beat").stat().st_size
        results = {e["tool_call_id"]: e["error"] for e in named(events, "tool_result")}
        called = [e["tool_call_id"] for e in named(events, "tool_call")]
        assert [results[call] for call in called] == ["cancelled", None]
        blocks = transcript(stage.brain)[-1][1]
        assert [block["tool_use_id"] for block in blocks] == called
        await check_aftermath(stage)
        assert (stage.workspace / "beat").stat().st_size == size


@each_provider
async def test_cancel_resolves_what_a_person_was_asked(provider: str, tmp_path: Path) -> None:
    ask = [Call("ask_user", {"question": "Which one?"})]
    async with staged(provider, script(ask, NEXT, repeat=True), tmp_path) as stage:
        async with stage.client.execute() as stream:
            asked = (await stream.until("hitl_request")).data
            events = await cancel(stage.client, stream)
        (resolved,) = named(events, "hitl_resolved")
        assert (resolved["request_id"], resolved["by"]) == (asked["request_id"], "cancel")
        assert [e["error"] for e in named(events, "tool_result")] == ["cancelled"]
        assert (await stage.client.get("/hitl/pending"))["pending"] == []
        with pytest.raises(Refused) as refused:
            await stage.client.answer("this one", request_id=asked["request_id"])
        assert refused.value.status in (404, 409)
        await check_aftermath(stage)


@each_provider
async def test_cancel_between_two_attempts(provider: str, tmp_path: Path) -> None:
    replies = script(RateLimit(retry_after=2.0), NEXT, repeat=True)
    async with staged(provider, replies, tmp_path) as stage:
        async with stage.client.execute() as stream:
            await until_told(lambda: knows_of_a_failure(stage.client))
            assert len(stage.peer.requests) == 1
            events = await cancel(stage.client, stream)
            assert phases(events) == ["started", "cancelled"]
        await check_aftermath(stage)


def ends_the_call(event: Event) -> bool:
    """Whether the tool call is told; nothing but the message's end is to come."""
    return event.name == "content_block_stop" and event.data["block_type"] == "tool_use"


async def knows_of_a_failure(client: Client) -> bool:
    """Whether the Engine has taken note of what its provider answered."""
    health = await client.get("/health")
    return bool(health["subsystems"]["llm_provider"] != "ok")


async def test_cancel_while_the_model_s_message_is_being_stored_leaves_no_call_unanswered(
    tmp_path: Path,
) -> None:
    message = [Say("I shall."), Call("bash", {"command": "sleep 60"}), Wait("finish")]
    async with staged("anthropic", script(message, NEXT, repeat=True), tmp_path) as stage:
        async with stage.client.execute() as stream, trio.open_nursery() as nursery:
            await stream.until(ends_the_call)
            with writing(stage.brain):  # the commit that is to come must wait for us
                stage.peer.release("finish")
                await stage.peer.requests[0].closed.wait()
                await wait_all_tasks_blocked(0.05)
                nursery.start_soon(stage.client.cancel)
                await wait_all_tasks_blocked(0.05)
            events = await stream.rest()
        # The commit was under way, so the call was made, and seen: it must have its answer.
        called = [e["tool_call_id"] for e in named(events, "tool_call")]
        told = [(e["tool_call_id"], e["error"]) for e in named(events, "tool_result")]
        assert len(called) == 1 and told == [(called[0], "cancelled")]
        assert phases(events)[-1] == "cancelled"
        await check_aftermath(stage)


async def test_cancelling_what_does_not_run_is_idle(tmp_path: Path) -> None:
    async with staged("anthropic", script(NEXT), tmp_path) as stage:
        idle = {"status": "idle", "task_id": "task", "turn_id": None}
        assert await stage.client.cancel() == idle
        await stage.client.turn()
        assert await stage.client.cancel() == idle


# --- a client that leaves -----------------------------------------------------------------------


@each_provider
async def test_a_client_that_leaves_does_not_stop_its_turn(provider: str, tmp_path: Path) -> None:
    replies = script([Say("Still "), Wait("end"), Say("here.")])
    async with staged(provider, replies, tmp_path) as stage:
        async with stage.client.execute() as stream:
            await stream.until("text_delta")
        await wait_all_tasks_blocked(0.05)
        assert not stage.peer.requests[0].closed.is_set()
        stage.peer.release("end")
        rest = await stage.client.replayed(stream.seen[-1].id, task_id="task")
        assert text_of(stream.seen + rest) == "Still here."
        assert phases(stream.seen + rest) == ["started", "completed"]


# --- a task that is busy ------------------------------------------------------------------------


@asynccontextmanager
async def busy_task(tmp_path: Path, **more: str) -> AsyncGenerator[tuple[Stage, Stream]]:
    """A task whose first turn has said something and waits at the gate `end`."""
    replies = script([Say("First"), Wait("end")], NEXT, repeat=True)
    async with staged("anthropic", replies, tmp_path, **more) as stage:
        async with stage.client.execute("one") as first:
            await first.until("text_delta")
            yield stage, first


async def refused(client: Client, task_id: str = "task", on_busy: str = "reject") -> Refused:
    """Why a turn is not accepted."""
    with pytest.raises(Refused) as caught:
        await client.turn("two", task_id, on_busy=on_busy)
    return caught.value


async def test_a_second_turn_of_a_task_is_refused_as_busy(tmp_path: Path) -> None:
    async with busy_task(tmp_path) as (stage, first):
        no = await refused(stage.client)
        assert (no.status, no.error, no.body["details"]["task_id"]) == (409, "TASK_BUSY", "task")
        stage.peer.release("end")
        assert phases(await first.rest()) == ["started", "completed"]
        assert [role for role, _ in transcript(stage.brain)] == ["user", "assistant"]


async def test_a_second_turn_may_queue_behind_the_first(tmp_path: Path) -> None:
    async with busy_task(tmp_path) as (stage, first):
        async with stage.client.execute("two", on_busy="queue") as second:
            assert (await anext(second)).data["queued"] == 1
            assert len(stage.peer.requests) == 1
            stage.peer.release("end")
            assert phases(await first.rest()) == ["started", "completed"]
            assert phases(await second.rest()) == ["started", "completed"]
        texts = [blocks[0]["text"] for _, blocks in transcript(stage.brain)]
        assert texts == ["one", "First", "two", "At your service."]


async def test_a_second_turn_may_interrupt_the_first(tmp_path: Path) -> None:
    async with busy_task(tmp_path) as (stage, first):
        with trio.fail_after(5):
            second = await stage.client.turn("two", on_busy="interrupt")
            assert phases(await first.rest()) == ["started", "cancelled"]
        await closed(stage.peer.requests[0])
        assert phases(second) == ["started", "completed"]
        assert text_of(second) == "At your service."


async def test_a_turn_that_asks_refuses_a_second_one_until_it_is_answered(tmp_path: Path) -> None:
    ask = [Call("ask_user", {"question": "Which one?"})]
    async with staged("anthropic", script(ask, NEXT, NEXT), tmp_path) as stage:
        async with stage.client.execute() as stream:
            await stream.until("hitl_request")
            for policy in ("reject", "queue"):
                no = await refused(stage.client, on_busy=policy)
                assert (no.status, no.error) == (409, "HITL_REQUIRED")
            await stage.client.answer("this one")
            assert phases(await stream.rest()) == ["started", "completed"]
        assert phases(await stage.client.turn()) == ["started", "completed"]


async def test_a_turn_that_asks_can_be_interrupted(tmp_path: Path) -> None:
    ask = [Call("ask_user", {"question": "Which one?"})]
    async with staged("anthropic", script(ask, NEXT), tmp_path) as stage:
        async with stage.client.execute() as stream:
            await stream.until("hitl_request")
            second = await stage.client.turn(on_busy="interrupt")
            assert phases(await stream.rest()) == ["started", "cancelled"]
        assert phases(second) == ["started", "completed"]
        assert (await stage.client.get("/hitl/pending"))["pending"] == []


async def test_a_full_line_says_when_to_come_back(tmp_path: Path) -> None:
    async with busy_task(tmp_path, TASK_SLOTS="1", TASK_QUEUE="1") as (stage, first):
        async with stage.client.execute(task_id="waits") as waiting:
            await anext(waiting)
            no = await refused(stage.client, task_id="late")
            assert (no.status, no.error) == (429, "SLOTS_EXHAUSTED")
            assert int(no.headers["retry-after"]) > 0
            stage.peer.release("end")
            assert phases(await waiting.rest()) == ["started", "completed"]
        await first.rest()
        assert phases(await stage.client.turn(task_id="late")) == ["started", "completed"]


ROUNDS = 100


async def test_a_turn_seen_to_complete_leaves_its_task_free(tmp_path: Path) -> None:
    async with staged("anthropic", script(NEXT, repeat=True), tmp_path) as stage:
        for _ in range(ROUNDS):
            async with stage.client.execute() as stream:
                await stream.until(lambda event: event.data.get("phase") == "completed")


async def test_a_turn_seen_to_be_cancelled_leaves_its_task_free(tmp_path: Path) -> None:
    replies = script([Say("Once"), Wait("never")], repeat=True)
    async with staged("anthropic", replies, tmp_path) as stage:
        for _ in range(ROUNDS):
            async with stage.client.execute() as stream, trio.open_nursery() as nursery:
                await stream.until("text_delta")
                nursery.start_soon(stage.client.cancel)
                await stream.until(lambda event: event.data.get("phase") == "cancelled")
                nursery.cancel_scope.cancel()  # nobody waits for the cancel's own answer


# --- peers of a kind that tests/peers has no step for -------------------------------------------


class Mute:
    """A provider that takes a request and never says a word."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.asked = trio.Event()
        self.left = trio.Event()

    def settings(self, provider: str, folder: Path) -> dict[str, str]:
        """The environment of an Engine that asks it."""
        return pointed(folder, provider, f"http://127.0.0.1:{self._port}", PEER_KEY)

    async def listen(self, stream: trio.SocketStream) -> None:
        """Take one connection to its end."""
        self.asked.set() if await stream.receive_some() else None
        while await stream.receive_some():
            pass
        self.left.set()


@asynccontextmanager
async def mute_server() -> AsyncGenerator[Mute]:
    """A mute provider on the loopback."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    mute = Mute(listeners[0].socket.getsockname()[1])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, mute.listen, listeners)
        yield mute
        nursery.cancel_scope.cancel()
