"""Observability events: each kind that the contract lists, over HTTP, from where it happens."""

from pathlib import Path
from typing import Any

from september.brain.raven import happenings
from september.traces.row import TraceRow

from .stage import SAY, Recorded, recorded, tool


async def events(stage: Recorded, **query: Any) -> list[Any]:
    found: list[Any] = (await stage.get("/observability/events", **query))["events"]
    return found


async def test_a_boot_tells_of_its_migrations_once(tmp_path: Path) -> None:
    for _ in range(2):
        async with recorded(tmp_path) as stage:
            told = await events(stage, kind="migration")
            assert [one["data"]["version"] for one in told] == sorted(
                (one["data"]["version"] for one in told), reverse=True
            )
            assert told[-1]["data"]["version"] == 1
            names = [one["data"]["name"] for one in told]
            assert len(names) == len(set(names))


async def test_an_error_a_denial_and_a_reload_lead_to_their_traces(tmp_path: Path) -> None:
    rules: tuple[dict[str, Any], ...] = (
        {"match": "fail", "steps": [{"fault": "cut"}]},
        {"match": "deny", **tool("unknown_tool")},
        SAY,
    )
    async with recorded(tmp_path, *rules) as stage:
        await stage.turn("fail", task_id="one")
        await stage.turn("deny", task_id="two")
        assert (await stage.http.post("/admin/reload-catalog")).status_code == 200
        failed = await events(stage, kind="error", task_id="one")
        assert {one["data"]["outcome"] for one in failed} >= {"LLM_PROVIDER_ERROR"}
        why = await stage.why(failed[0]["trace_id"])
        assert why["steps"][-1]["path"] == "attempt scripted"
        (reload,) = await events(stage, kind="catalog_reload")
        assert reload["data"]["name"].startswith("UseCatalog")
        (tool_failed,) = await events(stage, kind="error", task_id="two")
        assert tool_failed["data"]["outcome"] == "unknown_tool"
        both = await events(stage, limit=2)
        after = await events(stage, limit=2, before=both[-1]["id"])
        assert [one["id"] for one in (*both, *after)] == sorted(
            (one["id"] for one in (*both, *after)), reverse=True
        )


def test_a_slow_tool_and_a_cache_alert_are_events() -> None:
    slow = TraceRow(
        kind="span",
        at=1,
        trace_id="1",
        span_id="2",
        path="execute_tool bash",
        handling_us=11_000_000,
    )
    alert = TraceRow(
        kind="span",
        at=1,
        trace_id="1",
        span_id="3",
        path="chat",
        message='{"cache_hit_alert":true}',
    )
    assert list(happenings.kinds(slow, 10_000_000)) == ["slow_tool"]
    assert list(happenings.kinds(alert, 10_000_000)) == ["cache_hit_alert"]
