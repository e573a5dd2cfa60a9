"""kill -9 at every event of a turn with two tool calls, and in every state that must survive it."""

import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from signal import SIGKILL

import pytest
import trio

from tests.peers import Call, Peer, Say, Wait, provider_peer, script

from .brain import change, logged, statuses
from .client import Client, Event, Refused, Stream, named, phases
from .crash import check_ended, check_next_turn, made, take_up, wait_gone
from .figures import note
from .harness import EngineProcess, engine_process, peered, settings
from .served import served
from .stage import each_provider
from .waiting import until

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

AT_ONCE = 3
"""Cut points tried at the same time, on two cores."""

WRITE = Call("write_file", {"path": "note.txt", "content": "hello"})
RUN = Call("bash", {"command": "until [ -e go ]; do sleep 0.01; done; echo ran >> ran.txt"})
TURN = script(
    [Say("First. "), Wait("calls"), WRITE, RUN],
    [Say("Both "), Wait("end"), Say("done.")],
)
AFTERWARDS = script(Say("I am."), repeat=True)
NEVER = 10**6
DOOMED = Path(__file__).with_name("doomed.py")


def ran(folder: Path) -> int:
    """How often the command of RUN has had its effect."""
    marks = folder / "workspaces" / "task" / "ran.txt"
    return len(marks.read_text().splitlines()) if marks.exists() else 0


class Pace:
    """Lets the turn go on only when its client has seen what there is: a kill hits that event."""

    def __init__(self, peer: Peer, folder: Path) -> None:
        self._peer = peer
        self._go = folder / "workspaces" / "task" / "go"

    def saw(self, seen: list[Event]) -> None:
        """The client has seen this much."""
        if seen[-1].name == "text_delta":
            self._peer.release("calls" if len(named(seen, "text_delta")) == 1 else "end")
        elif seen[-1].name == "tool_result" and seen[-1].data["tool"] == "write_file":
            self._go.touch()


async def read(stream: Stream, pace: Pace, cut: int, kill: EngineProcess | None) -> None:
    """Read to the end; kill the Engine on receipt of event number `cut`."""
    async for _ in stream:
        if len(stream.seen) < cut:
            pace.saw(stream.seen)
        elif len(stream.seen) == cut and kill is not None:
            await kill.kill()


async def uncut(provider: str, folder: Path) -> list[Event]:
    """The events of the whole turn."""
    made(folder)
    async with provider_peer(provider, TURN) as peer, served(peered(folder, peer)) as engine:
        async with engine.client.execute() as stream:
            await read(stream, Pace(peer, folder), NEVER, None)
    assert phases(stream.seen) == ["started", "completed"]
    assert [e["error"] for e in named(stream.seen, "tool_result")] == [None, None]
    return stream.seen


async def cut_at(provider: str, folder: Path, cut: int, endings: list[str]) -> None:
    """Kill a process at event number `cut`, then take its brain up in another Engine."""
    made(folder)
    async with provider_peer(provider, TURN) as peer:
        env = peered(folder, peer)
        async with engine_process(env) as doomed, Client(doomed.url) as client:
            async with client.execute() as stream:
                await read(stream, Pace(peer, folder), cut, doomed)
            assert await doomed.stopped() == -SIGKILL
        assert len(stream.seen) >= cut
        peer.script = AFTERWARDS
        async with served(env) as engine:
            await wait_gone(folder)
            events = await take_up(engine.client, engine.brain, stream.seen)
            endings.append(check_ended(engine.brain, events))
            assert ran(folder) <= 1
            await check_next_turn(engine.client, events)
        assert [request.refused for request in peer.requests if request.refused] == []


@each_provider
async def test_u1_u6_a_kill_at_any_event_loses_and_doubles_none_and_the_task_goes_on(
    provider: str, tmp_path: Path
) -> None:
    cuts = range(1, len(await uncut(provider, tmp_path / "uncut")) + 1)
    endings: list[str] = []
    await each(cuts, lambda cut: cut_at(provider, tmp_path / f"cut-{cut:02}", cut, endings))
    assert len(endings) == len(cuts)
    assert "errored" in endings
    note(f"crash, {provider}", f"{len(cuts)} cut points on the wire, {summary(endings)}")


async def each(cuts: Iterable[int], work: Callable[[int], Awaitable[None]]) -> None:
    """Do the work for every cut point, a few at a time."""
    limit = trio.CapacityLimiter(AT_ONCE)

    async def one(cut: int) -> None:
        async with limit:
            await work(cut)

    async with trio.open_nursery() as nursery:
        for cut in cuts:
            nursery.start_soon(one, cut)


def summary(endings: list[str]) -> str:
    """How many ended how."""
    return ", ".join(f"{endings.count(one)} {one}" for one in sorted(set(endings)))


# --- between the event log's own steps ----------------------------------------------------------

RULES = """
[[rule]]
match = "go"
step = 0
steps = [
  { text = "First. " },
  { tool = "write_file", input = { path = "note.txt", content = "hello" } },
  { tool = "bash", input = { command = "echo ran >> ran.txt" } },
]
[[rule]]
match = "go"
step = 1
steps = [{ text = "Both done." }]
[[rule]]
match = "there"
steps = [{ text = "I am." }]
"""


def scripted(folder: Path) -> dict[str, str]:
    """The environment of an Engine, in a folder made for it, that plays RULES."""
    made(folder)
    (folder / "rules.toml").write_text(RULES)
    return settings(folder, SCRIPTED_RULES=str(folder / "rules.toml"))


async def die_at(step: str, folder: Path, event: int, endings: list[str]) -> None:
    """Let a process kill itself at a step of an event's way to its client; take the brain up."""
    env = scripted(folder)
    launch = (sys.executable, str(DOOMED), step, str(event))
    async with engine_process(env, launch) as doomed, Client(doomed.url) as client:
        async with client.execute() as stream:
            await stream.rest()
        assert await doomed.stopped() == -SIGKILL
    assert len(stream.seen) < event
    async with served(env) as engine:
        events = await take_up(engine.client, engine.brain, stream.seen)
        endings.append(check_ended(engine.brain, events))
        assert ran(folder) <= 1
        await check_next_turn(engine.client, events)


@pytest.mark.parametrize("step", ["unwritten", "written"])
async def test_a_kill_between_the_steps_of_the_log_is_no_different(
    step: str, tmp_path: Path
) -> None:
    endings: list[str] = []
    events = await scripted_length(tmp_path / "uncut")
    await each(
        range(2, events + 1),
        lambda event: die_at(step, tmp_path / f"at-{event:02}", event, endings),
    )
    assert endings.count("completed") == (step == "written")
    note(f"crash, {step}", f"{events - 1} cut points in the log, {summary(endings)}")


async def scripted_length(folder: Path) -> int:
    """How many events the scripted turn has."""
    async with served(scripted(folder)) as engine:
        return len(await engine.client.turn())


# --- states that outlive a process --------------------------------------------------------------

RECURSIVE = "echo ran >> ran.txt; chmod -R u+w ."
"""Counts how often it runs, and asks for permission: a recursive chmod always does."""


@each_provider
async def test_a_permission_that_is_pending_outlives_the_process(
    provider: str, tmp_path: Path
) -> None:
    replies = script([Say("May I?"), Call("bash", {"command": RECURSIVE})], [Say("Done.")])
    async with provider_peer(provider, replies) as peer:
        env = peered(tmp_path, peer)
        async with engine_process(env) as doomed, Client(doomed.url) as client:
            async with client.execute() as stream:
                asked = (await stream.until("hitl_request")).data
                assert asked["kind"] == "permission"
                await doomed.kill()
        async with engine_process(env) as engine, Client(engine.url) as client:
            assert (await client.get("/hitl/pending"))["pending"] == [asked]
            async with client.replay(stream.seen[-1].id, task_id="task") as rest:
                resumed = await client.answer("yes", request_id=asked["request_id"])
                assert resumed["request_id"] == asked["request_id"]
                await rest.rest()
            events = stream.seen + rest.seen
            assert phases(events) == ["started", "completed"]
            assert [e["error"] for e in named(events, "tool_result")] == [None]
            assert ran(tmp_path) == 1
            assert events == logged(tmp_path / "brain.sqlite")
            assert check_ended(tmp_path / "brain.sqlite", events) == "completed"
            # answering again is the same answer; another one is refused
            assert await client.answer("yes", request_id=asked["request_id"]) == resumed
            with pytest.raises(Refused) as refused:
                await client.answer("no", request_id=asked["request_id"])
            assert (refused.value.status, refused.value.error) == (409, "HITL_MISMATCH")
        assert [request.refused for request in peer.requests if request.refused] == []


@each_provider
async def test_a_question_that_is_pending_outlives_two_processes(
    provider: str, tmp_path: Path
) -> None:
    ask = Call("ask_user", {"question": "Which one?"})
    async with provider_peer(provider, script([ask], [Say("That one.")])) as peer:
        env = peered(tmp_path, peer)
        async with engine_process(env) as doomed, Client(doomed.url) as client:
            async with client.execute() as stream:
                asked = (await stream.until("hitl_request")).data
                await doomed.kill()
        async with served(env) as engine:
            assert (await engine.client.get("/hitl/pending"))["pending"] == [asked]
        async with served(env) as engine:
            async with engine.client.replay(stream.seen[-1].id, task_id="task") as rest:
                await engine.client.answer("the left one")
                events = stream.seen + await rest.rest()
            assert check_ended(engine.brain, events) == "completed"
        assert named(events, "tool_result")[0]["output"] == "the left one"
        assert [request.refused for request in peer.requests if request.refused] == []


async def test_what_an_interrupted_call_had_asked_is_withdrawn(tmp_path: Path) -> None:
    both = [
        Call("bash", {"command": "echo ran >> ran.txt; sleep 60"}),
        Call("ask_user", {"question": "Which one?"}),
    ]
    async with provider_peer("anthropic", script(both, [Say("That one.")])) as peer:
        env = peered(tmp_path, peer)
        async with engine_process(env) as doomed, Client(doomed.url) as client:
            async with client.execute() as stream:
                await stream.until("hitl_request")
                await until(lambda: ran(tmp_path) == 1)
                await doomed.kill()
        change(
            tmp_path / "brain.sqlite",
            "INSERT INTO hitl_requests (request_id, task_id, turn_id, tool_call_id, kind, question,"
            " status, created_at, expires_at) SELECT 'hitl-of-bash', task_id, turn_id,"
            " (SELECT tool_call_id || '#1' FROM tool_calls WHERE tool = 'bash'), kind, 'Really?',"
            " status, created_at - 1, expires_at FROM hitl_requests",
        )
        async with served(env) as engine:
            async with engine.client.replay(stream.seen[-1].id, task_id="task") as rest:
                gone = (await rest.until("hitl_resolved")).data
                assert (gone["request_id"], gone["by"]) == ("hitl-of-bash", "cancel")
                pending = (await engine.client.get("/hitl/pending"))["pending"]
                assert [request["question"] for request in pending] == ["Which one?"]
                await engine.client.answer("left")
                assert phases(await rest.rest())[-1] == "completed"


@each_provider
async def test_a_command_that_ran_beside_a_pending_question_is_not_run_again(
    provider: str, tmp_path: Path
) -> None:
    both = [
        Call("bash", {"command": "echo ran >> ran.txt; sleep 60"}),
        Call("ask_user", {"question": "Which one?"}),
    ]
    async with provider_peer(provider, script(both, [Say("That one.")])) as peer:
        env = peered(tmp_path, peer)
        async with engine_process(env) as doomed, Client(doomed.url) as client:
            async with client.execute() as stream:
                await stream.until("hitl_request")
                await until(lambda: ran(tmp_path) == 1)
                await doomed.kill()
        async with served(env) as engine:
            async with engine.client.replay(stream.seen[-1].id, task_id="task") as rest:
                await engine.client.answer("left")
                events = stream.seen + await rest.rest()
            assert check_ended(engine.brain, events) == "completed"
            assert ran(tmp_path) == 1
        results = {e["tool"]: e for e in named(events, "tool_result")}
        assert results["bash"]["error"] == "interrupted"
        assert (results["ask_user"]["error"], results["ask_user"]["output"]) == (None, "left")
        assert [request.refused for request in peer.requests if request.refused] == []


async def test_a_kill_right_after_the_answer_runs_the_tool_at_most_once(tmp_path: Path) -> None:
    hang = "echo ran >> ran.txt; chmod -R u+w .; sleep 60"
    replies = script([Call("bash", {"command": hang})])
    async with provider_peer("anthropic", replies) as peer:
        env = peered(tmp_path, peer)
        async with engine_process(env) as doomed, Client(doomed.url) as client:
            async with client.execute() as stream:
                await stream.until("hitl_request")
                await client.answer("yes")
                await stream.until("hitl_resolved")
                await doomed.kill()
        peer.script = AFTERWARDS
        async with served(env) as engine:
            await wait_gone(tmp_path)
            assert (await engine.client.get("/hitl/pending"))["pending"] == []
            events = await take_up(engine.client, engine.brain, stream.seen)
            assert check_ended(engine.brain, events) == "errored"
            assert ran(tmp_path) <= 1
            await check_next_turn(engine.client, events)


@each_provider
async def test_a_turn_that_is_queued_runs_after_a_restart(provider: str, tmp_path: Path) -> None:
    replies = script([Say("Busy"), Wait("never")])
    async with provider_peer(provider, replies) as peer:
        env = peered(tmp_path, peer, TASK_SLOTS="1")
        async with engine_process(env) as doomed, Client(doomed.url) as client:
            async with client.execute("first", "busy") as busy:
                await busy.until("text_delta")
                async with client.execute("second", "task") as stream:
                    beat = await anext(stream)
                    assert (beat.name, beat.data["queued"]) == ("heartbeat", 1)
                    await doomed.kill()
        peer.script = script(Say("My turn."), repeat=True)
        brain = tmp_path / "brain.sqlite"
        async with engine_process(env) as engine, Client(engine.url) as client:
            events = await take_up(client, brain, stream.seen)
            assert check_ended(brain, events) == "completed"
            assert phases(events) == ["started", "completed"]
            assert statuses(brain, "busy") == ["errored"]
        assert [request.refused for request in peer.requests if request.refused] == []


# --- stopping in order, and being killed while at it --------------------------------------------


@each_provider
async def test_sigterm_lets_the_turn_end(provider: str, tmp_path: Path) -> None:
    replies = script([Say("Almost "), Wait("end"), Say("there.")])
    async with provider_peer(provider, replies) as peer:
        env = peered(tmp_path, peer)
        async with engine_process(env) as engine, Client(engine.url) as client:
            async with client.execute() as stream:
                await stream.until("text_delta")
                engine.terminate()
                await engine.printed("shutting down")
                with pytest.raises(Refused) as refused:
                    await client.turn(task_id="other")
                assert (refused.value.status, refused.value.error) == (503, "DRAINING")
                peer.release("end")
                events = await stream.rest()
            assert phases(events) == ["started", "completed"]
            assert await engine.stopped() == 0
    assert check_ended(tmp_path / "brain.sqlite", events) == "completed"


async def test_a_turn_that_outlasts_the_drain_is_closed_before_the_process_ends(
    tmp_path: Path,
) -> None:
    replies = script([Say("Once upon a time"), Wait("never")])
    async with provider_peer("anthropic", replies) as peer:
        env = peered(tmp_path, peer, DRAIN_TIMEOUT_S="0.2")
        async with engine_process(env) as engine, Client(engine.url) as client:
            async with client.execute() as stream:
                await stream.until("text_delta")
                engine.terminate()
                events = await stream.rest()
            assert not stream.cut
            assert await engine.stopped() == 0
        assert check_ended(tmp_path / "brain.sqlite", events) == "errored"


async def test_a_question_that_is_pending_at_sigterm_is_left_to_the_next_process(
    tmp_path: Path,
) -> None:
    ask = Call("ask_user", {"question": "Which one?"})
    async with provider_peer("anthropic", script([ask], [Say("That one.")])) as peer:
        env = peered(tmp_path, peer)
        async with engine_process(env) as engine, Client(engine.url) as client:
            async with client.execute() as stream:
                asked = (await stream.until("hitl_request")).data
                engine.terminate()
                await stream.rest()
            assert await engine.stopped() == 0
        assert phases(stream.seen) == ["started"]
        async with served(env) as again:
            assert (await again.client.get("/hitl/pending"))["pending"] == [asked]
            async with again.client.replay(stream.seen[-1].id, task_id="task") as rest:
                await again.client.answer("left")
                events = stream.seen + await rest.rest()
            assert check_ended(again.brain, events) == "completed"


@each_provider
async def test_a_kill_during_the_drain_is_a_kill(provider: str, tmp_path: Path) -> None:
    replies = script([Say("Almost "), Wait("never")])
    async with provider_peer(provider, replies) as peer:
        env = peered(tmp_path, peer)
        async with engine_process(env) as doomed, Client(doomed.url) as client:
            async with client.execute() as stream:
                await stream.until("text_delta")
                doomed.terminate()
                await doomed.printed("shutting down")
                assert doomed.process.returncode is None
                await doomed.kill()
        peer.script = AFTERWARDS
        async with served(env) as engine:
            events = await take_up(engine.client, engine.brain, stream.seen)
            assert check_ended(engine.brain, events) == "errored"
            await check_next_turn(engine.client, events)
        assert [request.refused for request in peer.requests if request.refused] == []
