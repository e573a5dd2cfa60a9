"""From any event of any turn one question leads to its root cause."""

from pathlib import Path
from typing import Any

import pytest

from .stage import recorded

pytestmark = pytest.mark.timeout(25)

TWO_FAIL: dict[str, Any] = {
    "match": "tools",
    "step": 0,
    "steps": [
        {"text": "Both at once. "},
        {"tool": "bash", "input": {"command": "ls /nowhere"}},
        {"tool": "read_file", "input": {"path": "absent.md"}},
        {"tool": "working_memory_set", "input": {"key": "place", "value": "here"}},
    ],
}
CUT: dict[str, Any] = {"match": "cut", "steps": [{"text": "Half of it "}, {"fault": "cut"}]}


def frames(stream: str) -> list[tuple[str, str, str]]:
    """Id, name and data of every event that was sent."""
    found = list[tuple[str, str, str]]()
    for frame in stream.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in frame.splitlines() if ": " in line)
        if "id" in fields:
            found.append((fields["id"], fields["event"], fields["data"]))
    return found


async def test_every_event_of_a_turn_that_failed_leads_to_what_failed_it(tmp_path: Path) -> None:
    async with recorded(tmp_path, TWO_FAIL, CUT, {"steps": [{"text": "Well."}]}) as stage:
        sent = frames(await stage.turn("cut"))
        roots = [(await stage.why(one))["steps"][-1] for one, _, _ in sent]
    assert {"error", "thread_lifecycle"} <= {name for _, name, _ in sent}
    assert {(root["path"], root["outcome"]) for root in roots} == {("attempt scripted", "cut")}


async def test_an_event_of_a_tool_that_failed_leads_to_that_tool(tmp_path: Path) -> None:
    async with recorded(tmp_path, TWO_FAIL, CUT, {"steps": [{"text": "Well."}]}) as stage:
        sent = frames(await stage.turn("tools"))
        calls = {
            name: data.split('"tool_call_id":"')[1].split('"')[0]
            for name in ("bash", "read_file")
            for _, event, data in sent
            if event == "tool_call" and f'"tool":"{name}"' in data
        }
        for tool, call in calls.items():
            events = [one for one, _, data in sent if call in data]
            assert len(events) >= 2
            for event in events:
                why = await stage.why(event)
                assert why["steps"][0]["path"] == f"execute_tool {tool}", why["verdict"]
                assert why["origin"][-1]["path"] == "POST /execute"
        last = await stage.why(sent[-1][0])
    assert last["steps"][0]["path"] == "invoke_agent assistant"
