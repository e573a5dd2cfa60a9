"""Streams that are left and taken up again: gap-free, duplicate-free, and cheap for the Engine."""

from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import datetime
from pathlib import Path

import pytest
import trio

from september.brain.channels.log import IsFollowed
from tests.peers import Call, Say, Wait, provider_peer, script

from .brain import logged, rows
from .client import Client, Event, Refused, Stream, ids, phases, text_of
from .figures import note
from .harness import KEY, EngineProcess, engine_process, peered
from .served import served
from .stage import Stage, each_provider, staged
from .waiting import until, until_told
from .wire import Exchange, exchanged

WRITE = Call("write_file", {"path": "note.txt", "content": "hello"})
TWO_CALLS = [Say("First."), WRITE, Call("read_file", {"path": "missing"})]
DONE = [Say("Both done.")]
RECONNECTS = 1000


# --- Last-Event-ID ------------------------------------------------------------------------------


@each_provider
async def test_a_finished_turn_resumes_at_every_cut_point(provider: str, tmp_path: Path) -> None:
    async with staged(provider, script(TWO_CALLS, DONE), tmp_path) as stage:
        async with stage.client.execute() as stream:
            events = await stream.rest()
        for place, event in enumerate(events):
            async with stage.client.replay(event.id, task_id="task") as rest:
                assert await rest.rest() == events[place + 1 :]
            assert stream.raw.endswith(rest.raw), "a frame has changed"
        assert await stage.client.replayed(0, task_id="task") == events


@each_provider
async def test_u4_a_running_turn_resumes_at_every_cut_point(provider: str, tmp_path: Path) -> None:
    first = [Say("One. "), Wait("two"), Say("Two. "), Wait("calls"), WRITE]
    async with staged(provider, script(first, [Say("Three."), Wait("end")]), tmp_path) as stage:
        followed: dict[int, list[Event]] = {}
        async with stage.client.execute() as stream, trio.open_nursery() as followers:
            async for event in stream:
                followers.start_soon(follow, stage.client, event.id, followed)
                match text_of(stream.seen):
                    case "One. ":
                        stage.peer.release("two")
                    case "One. Two. ":
                        stage.peer.release("calls")
                    case "One. Two. Three.":
                        stage.peer.release("end")
                    case _:
                        pass
        events = stream.seen
        assert phases(events) == ["started", "completed"]
        for place, event in enumerate(events):
            assert followed[event.id] == events[place + 1 :]
        assert events == logged(stage.brain)


async def follow(client: Client, last_id: int, followed: dict[int, list[Event]]) -> None:
    """Follow from an id to the end."""
    followed[last_id] = await client.replayed(last_id, task_id="task")


async def test_every_way_to_say_where_to_resume_means_the_same(tmp_path: Path) -> None:
    async with staged("anthropic", script(TWO_CALLS, DONE, DONE), tmp_path) as stage:
        events = await stage.client.turn()
        client, middle = stage.client, events[len(events) // 2]
        after = [event for event in events if event.id > middle.id]
        assert await client.replayed(task_id="task", after_id=middle.id) == after
        assert await client.replayed(middle.id, task_id="task", after=0) == after
        assert await client.replayed(middle.id, task_id="task", after_id=0) == after
        assert await client.replayed(task_id="task", after=0) == events
        assert await client.replayed(task_id="task") == events
        with pytest.raises(Refused) as unknown:
            await client.replayed(task_id="unknown", after=0)
        assert (unknown.value.status, unknown.value.error) == (404, "TASK_NOT_FOUND")
        ended = ms(events[-1].data["timestamp"])
        await until(lambda: ms(datetime.now().astimezone().isoformat()) > ended + 5)
        later = await client.turn()
        assert await client.replayed(task_id="task", after=ended + 4) == later


def ms(timestamp: str) -> int:
    """A timestamp in milliseconds."""
    return int(datetime.fromisoformat(timestamp).timestamp() * 1000)


async def test_without_follow_the_backlog_is_all_there_is(tmp_path: Path) -> None:
    replies = script([Say("One. "), Wait("end"), Say("Two.")])
    async with staged("anthropic", replies, tmp_path) as stage:
        async with stage.client.execute() as stream:
            await stream.until("text_delta")
            so_far = await stage.client.replayed(task_id="task", follow="false")
            assert so_far[: len(stream.seen)] == stream.seen
            assert not so_far[-1].closes
            stage.peer.release("end")
            events = await stream.rest()
        assert await stage.client.replayed(task_id="task", follow="false") == events


async def test_tasks_share_one_sequence_and_can_be_followed_together_or_alone(
    tmp_path: Path,
) -> None:
    replies = script([Say("Once"), Wait("end"), Say("more")], repeat=True)
    async with staged("anthropic", replies, tmp_path) as stage:
        seen: dict[str, list[Event]] = {}

        async def run(task_id: str) -> None:
            seen[task_id] = await stage.client.turn(task_id=task_id)

        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(run, f"task-{number}")
            await stage.peer.wait_request(3)
            async with stage.client.replay(0) as together:
                await together.until("text_delta")
                stage.peer.release("end")
                everything = await together.rest()
        assert ids(everything) == sorted({e.id for events in seen.values() for e in events})
        assert ids(everything) == [event_id for (event_id,) in rows(stage.brain, ALL_IDS)]
        for task_id, events in seen.items():
            assert await stage.client.replayed(0, task_id=task_id) == events
            assert [e for e in everything if e in events] == events


ALL_IDS = "SELECT id FROM channel_events ORDER BY id"


# --- Idempotency-Key ----------------------------------------------------------------------------


@each_provider
async def test_a_key_seen_before_attaches_and_never_runs_again(
    provider: str, tmp_path: Path
) -> None:
    key = {"Idempotency-Key": "once"}
    async with provider_peer(provider, script([Say("One. "), Wait("end"), Say("Two.")])) as peer:
        env = peered(tmp_path, peer)
        async with served(env) as engine, engine.client.execute(headers=key) as stream:
            seen = (await stream.until("text_delta")).id
            async with engine.client.execute(headers=key) as again:
                await again.until("text_delta")
                peer.release("end")
                events = await stream.rest()
                assert await again.rest() == events
            resumed = {**key, "Last-Event-ID": str(seen)}
            after = [event for event in events if event.id > seen]
            assert await engine.client.turn(headers=resumed) == after
            assert await engine.client.turn("another message", headers=key) == events
        async with served(env) as engine:
            assert await engine.client.turn(headers=key) == events
            assert await engine.client.turn(headers=resumed) == after
        assert len(peer.requests) == 1


async def test_twenty_posts_at_once_with_one_key_are_one_turn(tmp_path: Path) -> None:
    async with staged("anthropic", script(DONE), tmp_path) as stage:
        answers: list[list[Event]] = []

        async def post() -> None:
            answers.append(await stage.client.turn(headers={"Idempotency-Key": "once"}))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(post)
        assert len(answers) == 20
        assert all(events == answers[0] for events in answers)
        assert phases(answers[0]) == ["started", "completed"]
        assert len(stage.peer.requests) == 1
        assert rows(stage.brain, "SELECT count(*) FROM turns") == [(1,)]


async def test_a_key_survives_the_process_that_was_killed_with_its_turn(tmp_path: Path) -> None:
    key = {"Idempotency-Key": "once"}
    async with provider_peer("anthropic", script([Say("One. "), Wait("never")])) as peer:
        env = peered(tmp_path, peer)
        async with engine_process(env) as doomed, Client(doomed.url) as client:
            async with client.execute(headers=key) as stream:
                await stream.until("text_delta")
                await doomed.kill()
        async with engine_process(env) as engine, Client(engine.url) as client:
            events = await client.turn(headers=key)
        assert events[: len(stream.seen)] == stream.seen
        assert phases(events) == ["started", "errored"]
        assert len(peer.requests) == 1


# --- what following costs -----------------------------------------------------------------------


async def test_a_thousand_reconnects_leave_nothing_open(tmp_path: Path) -> None:
    text = [Say("x" * (RECONNECTS + 100), size=1), Wait("end")]
    async with provider_peer("openai", script(text)) as peer:
        async with engine_process(peered(tmp_path, peer)) as engine, Client(engine.url) as client:
            async with client.execute() as stream:
                while len(stream.seen) <= RECONNECTS:
                    await anext(stream)
                await reconnect(client, stream.seen[0].id, 20)  # what is opened once is open now
                before = engine.descriptors()
                memory = engine.resident_kib()
                events = await reconnect(client, stream.seen[0].id, RECONNECTS)
                assert events == stream.seen[1 : RECONNECTS + 1]
                await until(lambda: engine.descriptors() <= before + 4)
                grown = engine.descriptors() - before
                note("reconnects", f"{RECONNECTS}, descriptors {before} -> {before + grown}")
                note("reconnects, memory", f"+{engine.resident_kib() - memory} KiB")
                peer.release("end")
                assert phases(await stream.rest()) == ["started", "completed"]


async def reconnect(client: Client, last_id: int, times: int) -> list[Event]:
    """Resume after the last event, read one, leave; over and over."""
    events: list[Event] = []
    for _ in range(times):
        async with client.replay(last_id, task_id="task") as stream:
            event = await anext(stream)
        events.append(event)
        last_id = event.id
    return events


async def test_whoever_leaves_is_forgotten(tmp_path: Path) -> None:
    async with staged("anthropic", script([Say("One."), Wait("end")]), tmp_path) as stage:
        async with stage.client.execute() as stream:
            await stream.until("text_delta")
            for _ in range(50):
                async with stage.client.replay(0, task_id="task") as other:
                    await anext(other)
            assert not await left(stage)
        await until_told(lambda: left(stage))
        stage.peer.release("end")
        assert phases(await stage.client.replayed(0, task_id="task")) == ["started", "completed"]


async def left(stage: Stage) -> bool:
    """Whether nobody follows the task any more."""
    return not await stage.engine.engine.log.call(IsFollowed("task"))


STALLED = 20
PIECE = 4096
PIECES = 1500


async def test_readers_that_stall_cost_little_and_hold_up_nobody(tmp_path: Path) -> None:
    text = Say("y" * PIECE * PIECES, size=PIECE)
    async with (
        provider_peer("openai", script([text], [text], [Say("Now. "), Wait("go"), text])) as peer,
        engine_process(peered(tmp_path, peer)) as engine,
        Client(engine.url) as client,
        AsyncExitStack() as stack,
    ):
        await client.turn(task_id="first")
        before = engine.resident_kib()
        alone = await seconds(client.turn(task_id="alone"))
        memory = engine.resident_kib()
        async with client.execute() as stream:
            await stream.until("text_delta")
            stalled = [await stack.enter_async_context(stall(engine)) for _ in range(STALLED)]
            peer.release("go")
            crowded = await seconds(stream.rest())
        # A turn keeps some of what it said in memory (the newest frames, the trace): beyond that.
        cost = (engine.resident_kib() - memory) - (memory - before)
        megabytes = len(stream.raw) / 1e6
        note("stalled readers", f"{STALLED} of a stream of {megabytes:.1f} MB cost {cost} KiB")
        note("reader beside them", f"{alone:.2f} s alone, {crowded:.2f} s")
        assert phases(stream.seen) == ["started", "completed"]
        assert cost < STALLED * 1024
        late = Stream(stalled[0])
        assert await late.rest() == stream.seen
        assert late.raw == stream.raw


async def seconds(work: Awaitable[object]) -> float:
    """How long something takes."""
    began = trio.current_time()
    await work
    return trio.current_time() - began


def stall(engine: EngineProcess) -> AbstractAsyncContextManager[Exchange]:
    """Follow the task, and read nothing but the head of the answer."""
    key = {"X-Engine-Key": KEY}
    target = "/execute/replay?task_id=task&after_id=0"
    return exchanged(engine.url, "GET", target, key, receive_buffer=PIECE)
