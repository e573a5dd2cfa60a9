"""What an Engine counts, as a Prometheus server reads it."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.openmetrics import parser
from prometheus_client.parser import text_string_to_metric_families as plain

from september.brain.metrics.metrics import OTHER
from tests.brain.raven.stage import SAY, Recorded, recorded, tool
from tests.brain.raven.test_why import poison, until


class Reading:
    """The samples of one look."""

    def __init__(self, text: str) -> None:
        self.families = list(plain(text))
        self._samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.families
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """A sample, 0 if it is not there."""
        return self._samples.get((name, tuple(sorted(labels.items()))), 0.0)

    def labels(self, name: str, label: str) -> set[str]:
        """All values of a label."""
        return {dict(labels)[label] for found, labels in self._samples if found == name}


async def read(stage: Recorded) -> Reading:
    return Reading((await stage.http.get("/metrics")).text)


async def counted(stage: Recorded, name: str, **labels: str) -> bool:
    return (await read(stage)).value(name, **labels) > 0


async def test_requests_turns_tokens_and_tools_are_counted(tmp_path: Path) -> None:
    rules = (tool("bash", command="exit 3"), {"steps": [{"text": "Well.", "delay_ms": 1}]})
    async with recorded(tmp_path, *rules) as stage:
        await stage.turn()
        await stage.http.post("/execute", json={"task_id": "task"})
        await stage.http.get("/nowhere/at/all")
        seen = await read(stage)
    execute = {"method": "POST", "path": "/execute"}
    assert seen.value("engine_requests_total", **execute, status="200") == 1
    assert seen.value("engine_requests_total", **execute, status="400") == 1
    assert seen.value("engine_requests_total", method="GET", path=OTHER, status="404") == 1
    assert seen.value("engine_request_duration_seconds_count", path="/execute") == 2
    assert seen.value("engine_errors_total", code="INVALID_REQUEST") == 1
    assert seen.value("engine_turns_total", outcome="completed") == 1
    assert seen.value("engine_turn_duration_seconds_count") == 1
    assert seen.value("engine_model_call_duration_seconds_count", provider="scripted") == 2
    assert seen.value("engine_time_to_first_token_seconds_count", provider="scripted") == 1
    for kind in ("input", "output"):
        assert seen.value("engine_tokens_total", provider="scripted", kind=kind) > 0
    assert seen.value("engine_tool_duration_seconds_count", tool="bash") == 1
    assert seen.value("engine_brain_bytes") > 100_000
    assert seen.value("process_resident_memory_bytes") > 1e7


async def test_a_failed_turn_counts_under_its_code(tmp_path: Path) -> None:
    async with recorded(tmp_path, {"steps": [{"text": "Half"}, {"fault": "cut"}]}) as stage:
        await stage.turn()
        seen = await read(stage)
    assert seen.value("engine_turns_total", outcome="errored") == 1
    assert seen.value("engine_errors_total", code="LLM_PROVIDER_ERROR") == 1


async def test_crashes_restarts_and_mailboxes_are_shown_by_place(tmp_path: Path) -> None:
    async with recorded(tmp_path) as stage:
        poison(stage.engine.sandbox)
        await until(lambda: counted(stage, "engine_actor_restart_total", actor="engine/sandbox"))
        seen = await read(stage)
    assert seen.value("engine_actor_crash_total", actor="engine/sandbox") == 1
    assert seen.value("engine_mailbox_high_water", actor="engine/raven") >= 1
    assert seen.value("engine_actors") > 10


async def test_the_loops_lag_is_measured(tmp_path: Path) -> None:
    async with recorded(tmp_path) as stage:
        await until(lambda: counted(stage, "engine_loop_lag_seconds_count"))


async def test_what_the_model_invents_makes_no_label(tmp_path: Path) -> None:
    async with recorded(tmp_path, tool("rm_rf_the_moon"), SAY) as stage:
        for number in range(3):
            await stage.turn(task_id=f"task-{number}")
            await stage.http.get(f"/conversations/task-{number}")
            await stage.http.get(f"/no/{number}")
        seen = await read(stage)
    assert seen.value("engine_tool_errors_total", tool=OTHER) == 3
    paths = {"/execute", "/conversations/{task_id}", OTHER}
    assert seen.labels("engine_requests_total", "path") == paths
    turns = {place for place in seen.labels("engine_mailbox_depth", "actor") if "turn" in place}
    assert turns <= {"engine/tasks/turns", "engine/tasks/turns/*"}


async def test_names_follow_the_rule_and_openmetrics_is_spoken(tmp_path: Path) -> None:
    async with recorded(tmp_path) as stage:
        headers = {"Accept": "application/openmetrics-text; version=1.0.0"}
        answer = await stage.http.get("/metrics", headers=headers)
        refused = await stage.http.get("/metrics", headers={"X-Engine-Key": "wrong"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    parse: Callable[[str], Iterator[Metric]] = vars(parser)["text_string_to_metric_families"]
    families = list(parse(answer.text))
    ours = [family for family in families if not family.name.startswith(("process_", "python_"))]
    assert len(ours) > 20
    for family in ours:
        assert re.fullmatch(r"engine_[a-z]+(_[a-z]+)*", family.name), family.name
        assert family.documentation.endswith("."), family.name
        assert family.type != "histogram" or family.name.endswith("_seconds")
    assert refused.status_code == 401
