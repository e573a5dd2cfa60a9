"""A whole turn again: to the same end with the same code, told where other code goes elsewhere."""

from pathlib import Path
from typing import Any

import pytest
import trio

from september.brain.agent.execution import ToolRunner
from september.brain.agent.loop import AgentLoop
from september.brain.catalog import load_catalog
from september.brain.replay.record import RecordedTurn, recorded_turn
from september.brain.replay.turn import replay_turn
from september.errors import SeptemberError
from tests.brain.raven.stage import SAY, Recorded, recorded, tool
from tests.brain.raven.test_why import until

pytestmark = pytest.mark.timeout(60)
CATALOG = load_catalog(None)

SCENARIOS: dict[str, tuple[dict[str, Any], ...]] = {
    "text": (SAY,),
    "tool": (tool("bash", command="echo hello"), SAY),
    "failing tool": (tool("bash", command="ls /nowhere; exit 3"), SAY),
    "unknown tool": (tool("rm_rf_the_moon", really=True), SAY),
    "wrong input": (tool("bash", cmd="x"), SAY),
    "two at once": (
        {
            "step": 0,
            "steps": [
                {"text": "Both. "},
                {"tool": "bash", "input": {"command": "echo one"}},
                {"tool": "bash", "input": {"command": "echo two"}},
            ],
        },
        SAY,
    ),
    "cut": ({"steps": [{"text": "Half of it "}, {"fault": "cut"}]},),
    "rejected": ({"steps": [{"fault": "rejected"}]},),
}


async def last_turn(stage: Recorded) -> RecordedTurn:
    """What is recorded of the turn that was accepted last."""
    await stage.get("/traces")  # by then everything is written
    database = stage.engine.database
    row = await database.read(
        lambda db: db.execute(
            "SELECT turn_id FROM turns ORDER BY created_at DESC LIMIT 1"
        ).fetchone()
    )
    assert row is not None
    return await database.read(lambda db: recorded_turn(db, str(row[0])))


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_recorded_turn_replays_to_the_same_steps(name: str, tmp_path: Path) -> None:
    async with recorded(tmp_path, *SCENARIOS[name]) as stage:
        await stage.turn("go on then")
        turn = await last_turn(stage)
    told = await replay_turn(turn, CATALOG)
    assert told.difference is None, told
    assert len(told.recorded) >= 2
    assert told.recorded[0] == "user: go on then"


async def test_a_denied_permission_is_denied_again_and_nothing_is_touched(tmp_path: Path) -> None:
    target = tmp_path / "outside.txt"
    rule = tool("write_file", path=str(target), content="x")
    for answer in ("no", "yes"):
        async with recorded(tmp_path, rule, SAY) as stage:

            async def answered(answer: str = answer, stage: Recorded = stage) -> bool:
                body = {"task_id": answer, "answer": answer}
                return (await stage.http.post("/hitl/respond", json=body)).status_code == 200

            async with trio.open_nursery() as nursery:
                nursery.start_soon(stage.turn, "write", answer)
                await until(answered)
            turn = await last_turn(stage)
        target.unlink(missing_ok=True)
        told = await replay_turn(turn, CATALOG)
        assert told.difference is None, told
        assert not target.exists()
        assert ("fails" in told.recorded[2]) == (answer == "no")


async def test_a_loop_that_answers_otherwise_is_told_at_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recorded(tmp_path, *SCENARIOS["tool"]) as stage:
        await stage.turn("go")
        turn = await last_turn(stage)
    original = ToolRunner.run

    async def backwards(self: ToolRunner, calls: Any) -> Any:
        message = await original(self, calls)
        monkeypatch.setattr(AgentLoop, "_ask_model", refuses)  # the next model call is not made
        return message

    async def refuses(self: AgentLoop, context: Any) -> Any:
        raise SeptemberError("ITERATION_LIMIT", "one call must do")

    monkeypatch.setattr(ToolRunner, "run", backwards)
    told = await replay_turn(turn, CATALOG)
    assert told.difference == (4, "assistant: Well then.", "ends errored")


async def test_a_changed_rule_of_input_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recorded(tmp_path, *SCENARIOS["tool"]) as stage:
        await stage.turn("go")
        turn = await last_turn(stage)

    def never(*_: object) -> str:
        return "no input will do"

    monkeypatch.setattr("september.brain.agent.execution.problems", never)
    told = await replay_turn(turn, CATALOG)
    assert told.difference is not None
    number, before, after = told.difference
    assert number == 3 and "answers: hello" in before and "no input will do" in after


SLOW = {"steps": [{"text": "First this. "}, {"text": "Then that. " * 200, "delay_ms": 20}]}
HANGS = {"steps": [{"wait_s": 50}, {"text": "Late."}]}
TWO = {
    "step": 0,
    "steps": [
        {"text": "Both. "},
        {"tool": "bash", "input": {"command": "echo one"}},
        {"tool": "bash", "input": {"command": "sleep 30"}},
    ],
}
CANCELS: dict[str, tuple[tuple[dict[str, Any], ...], str]] = {
    "while the model writes": ((SLOW,), "assistant: First this. "),
    "before the model says anything": ((HANGS,), "user: go on then"),
    "in a tool": ((tool("bash", command="sleep 30"), SAY), "sleep 30"),
    "in one of two tools": ((TWO, SAY), "sleep 30"),
    "while a person is asked": ((tool("write_file", path="/x", content="x"), SAY), "write_file"),
    "after a tool": ((tool("bash", command="echo one"), HANGS), "answers: one"),
}


async def cancelled(stage: Recorded, within: str) -> RecordedTurn:
    """A turn that is cancelled as soon as its stream holds `within`."""

    async def is_there() -> bool:
        rows = await stage.engine.database.read(
            lambda db: db.execute("SELECT data FROM channel_events").fetchall()
        )
        return any(within in str(data) for (data,) in rows)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.turn, "go on then")
        await until(is_there)
        await stage.http.post("/execute/cancel", json={"task_id": "task"})
    return await last_turn(stage)


SEEN = {
    "while the model writes": "Then that",
    "before the model says anything": "started",
    "in a tool": "sleep 30",
    "in one of two tools": "one\\n",
    "while a person is asked": "hitl-",
    "after a tool": "one\\n",
}
"""What is on the stream before each cancel."""


@pytest.mark.parametrize("name", CANCELS)
async def test_a_cancelled_turn_replays_up_to_its_cancel(name: str, tmp_path: Path) -> None:
    rules, last = CANCELS[name]
    async with recorded(tmp_path, *rules) as stage:
        turn = await cancelled(stage, SEEN[name])
    told = await replay_turn(turn, CATALOG)
    assert told.difference is None, told
    assert told.recorded[-1] == "ends cancelled"
    assert last in told.recorded[-2]


async def test_a_loop_that_goes_past_the_cancel_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recorded(tmp_path, tool("bash", command="sleep 30"), SAY) as stage:
        turn = await cancelled(stage, "sleep 30")

    def never(*_: object) -> str:
        return "no input will do"

    monkeypatch.setattr("september.brain.agent.execution.problems", never)
    monkeypatch.setattr("september.brain.replay.turn.PATIENCE_S", 2.0)
    told = await replay_turn(turn, CATALOG)
    assert told.difference is not None
    number, before, after = told.difference
    assert number == 3 and before.endswith("fails: cancelled") and "no input will do" in after


ASKS = tool("agent.researcher", task="Find it.")
NESTED = {"system": "(?i)researcher", "step": 0, "steps": [{"text": "Here it is: 42."}]}


async def test_a_turn_with_a_sub_agent_and_the_sub_agents_own_replay(tmp_path: Path) -> None:
    async with recorded(tmp_path, NESTED, ASKS, SAY) as stage:
        await stage.turn("ask the other")
        outer = await turn_like(stage, "turn-%")
        inner = await turn_like(stage, "sub-%")
    told = await replay_turn(outer, CATALOG)
    assert told.difference is None, told
    assert any("agent.researcher" in step and "42" in step for step in told.recorded)
    told = await replay_turn(inner, CATALOG)
    assert told.difference is None, told
    assert told.recorded == ("user: Find it.", "assistant: Here it is: 42.", "ends completed")


async def turn_like(stage: Recorded, pattern: str) -> RecordedTurn:
    """What is recorded of the turn with such an id."""
    await stage.get("/traces")
    database = stage.engine.database
    row = await database.read(
        lambda db: db.execute(
            "SELECT turn_id FROM turns WHERE turn_id LIKE ?", (pattern,)
        ).fetchone()
    )
    assert row is not None
    return await database.read(lambda db: recorded_turn(db, str(row[0])))
