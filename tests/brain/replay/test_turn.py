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


async def test_a_cancelled_turn_is_refused_with_the_reason(tmp_path: Path) -> None:
    async with recorded(tmp_path, tool("bash", command="sleep 30"), SAY) as stage:

        async def cancelled() -> bool:
            answer = await stage.http.post("/execute/cancel", json={"task_id": "task"})
            return bool(answer.json().get("status") == "cancelled")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.turn)
            await until(cancelled)
        with pytest.raises(SeptemberError, match="it is cancelled"):
            await last_turn(stage)
