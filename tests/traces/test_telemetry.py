"""Telemetry to a collector: our ids, the GenAI names, no secrets; a dead one costs nothing."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from opentelemetry.sdk.resources import Resource

from september.actors import Trace
from september.errors import ConfigError
from september.traces.otlp import destination
from september.traces.otlp_spans import SpanMaker
from september.traces.recorder import Recorder
from september.traces.render import Renderer
from september.traces.telemetry import Flush
from tests.brain.raven.stage import SAY, Recorded, recorded, tool
from tests.e2e.harness import boot, settings

from .collector import Collector, collecting, told

pytestmark = pytest.mark.timeout(60)

PLANTED = "sk-ant-api03-" + "Ab3" * 30 + "AA"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    with collecting() as running:
        yield running


async def flushed(stage: Recorded) -> None:
    (spec,) = stage.engine.telemetry.children
    await stage.engine.tree.ref(spec).call(Flush())


async def test_a_turn_arrives_as_genai_spans_with_our_ids(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=seven")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    rules = (tool("bash", command="echo hello"), {"steps": [{"text": "Well.", "delay_ms": 5}]})
    header = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
    async with recorded(tmp_path, *rules, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as stage:
        body = {"task_id": "task", "message": "go"}
        await stage.http.post("/execute", json=body, headers=header)
        await flushed(stage)
        kept = (await stage.get(f"/traces/{'ab' * 16}"))["lines"]
        mine = {span.span_id.hex() for span in collector.spans.values() if of_trace(span)}
    assert {line["row"]["span_id"] for line in kept} == mine
    request, agent = collector.span("POST /execute"), collector.span("invoke_agent assistant")
    assert request.parent_span_id.hex() == "cd" * 8 and request.kind == request.SPAN_KIND_SERVER
    assert told(request.attributes)["http.response.status_code"] == 200
    assert told(agent.attributes)["gen_ai.operation.name"] == "invoke_agent"
    assert told(agent.attributes)["gen_ai.conversation.id"] == "task"
    call = collector.span("execute_tool bash")
    assert told(call.attributes)["gen_ai.tool.name"] == "bash"
    chats = [span for span in collector.spans.values() if span.name.startswith("chat ")]
    usage = told(chats[0].attributes)
    assert len(chats) == 2 and chats[0].kind == chats[0].SPAN_KIND_CLIENT
    assert usage["gen_ai.usage.output_tokens"] > 0 and usage["gen_ai.usage.input_tokens"] > 0
    assert told(chats[1].attributes)["gen_ai.response.time_to_first_chunk"] > 0
    assert collector.resources[0]["service.name"] == "september-engine"
    assert collector.headers[0]["x-tenant"] == "seven"
    assert collector.headers[0]["content-encoding"] == "gzip"


def of_trace(span: Any) -> bool:
    return bool(span.trace_id.hex() == "ab" * 16)


async def test_no_span_arrives_without_its_parent(collector: Collector, tmp_path: Path) -> None:
    async with recorded(
        tmp_path, tool("bash", command="echo"), SAY, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url
    ) as stage:
        await stage.turn()
    ids = set(collector.spans)
    parents = {span.parent_span_id.hex() for span in collector.spans.values()}
    assert len(ids) > 30 and parents - {""} <= ids


async def test_the_metrics_arrive_under_the_genai_names_at_the_latest_when_it_stops(
    collector: Collector, tmp_path: Path
) -> None:
    before = set(threading.enumerate())
    async with recorded(
        tmp_path, tool("bash", command="echo"), SAY, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url
    ) as stage:
        await stage.turn()
    points = collector.metrics
    assert points["gen_ai.client.operation.duration"][0].count == 2
    assert (
        points["gen_ai.client.operation.time_to_first_chunk"][0].count == 1
    )  # the other only calls
    kinds = {
        told(p.attributes)["gen_ai.token.type"]: p for p in points["gen_ai.client.token.usage"]
    }
    assert kinds["input"].sum > 0 and kinds["output"].sum > 0
    (ran,) = points["gen_ai.execute_tool.duration"]
    assert ran.count == 1 and told(ran.attributes)["gen_ai.tool.name"] == "bash"
    assert points["gen_ai.invoke_agent.duration"][0].count == 1
    left = {one.name for one in set(threading.enumerate()) - before}
    assert not any("Otel" in name for name in left)


async def test_no_planted_secret_arrives(collector: Collector, tmp_path: Path) -> None:
    rules = (tool("bash", command=f"echo {PLANTED} >&2; exit 3"), SAY)
    more = {"ANTHROPIC_API_KEY": "correct-horse-battery-staple"}
    async with recorded(
        tmp_path, *rules, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, **more
    ) as stage:
        await stage.turn(f"my keys are {PLANTED} and correct-horse-battery-staple")
    everything = b"".join(collector.bodies)
    assert b"execute_tool bash" in everything
    assert PLANTED[:40].encode() not in everything
    assert b"correct-horse" not in everything


async def test_a_collector_that_hangs_holds_up_no_turn_and_loss_is_counted(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "20")
    collector.gate.clear()
    async with recorded(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as stage:
        while not collector.requests:  # noqa: ASYNC110  the collector runs in threads
            await trio.sleep(0.01)
        assert "completed" in await stage.turn()
        assert "completed" in await stage.turn()
        assert stage.engine.telemetry.losses.overload > 0
        collector.gate.set()


async def test_what_a_collector_refuses_is_counted(collector: Collector, tmp_path: Path) -> None:
    collector.status = 400
    async with recorded(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as stage:
        await stage.turn()
        await flushed(stage)
        refused = stage.engine.telemetry.losses.store
        assert refused > 10
        collector.status = 200
        await stage.turn()
        await flushed(stage)
        assert stage.engine.telemetry.losses.store == refused and collector.spans


def test_without_an_endpoint_nothing_is_loaded() -> None:
    assert destination(None, "september-engine", {}) is None
    off = {"OTEL_SDK_DISABLED": "true"}
    assert destination("http://localhost:4318", "september-engine", off) is None


async def test_a_boot_without_the_extra_says_what_to_install(tmp_path: Path) -> None:
    env = settings(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")
    hidden = tmp_path / "hidden"
    (hidden / "opentelemetry").mkdir(parents=True)  # shadows the installed one, and is empty
    (hidden / "opentelemetry" / "__init__.py").touch()
    ended = await boot({**env, "PYTHONPATH": str(hidden)})
    assert ended.code == 2, ended.output
    assert "pip install 'september[otlp]'" in ended.output


@pytest.mark.parametrize(
    ("name", "value"),
    [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_BSP_MAX_QUEUE_SIZE", "many")],
)
def test_a_variable_that_cannot_be_followed_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        destination("http://localhost:4318", "september-engine", {name: value})


def test_the_sampler_takes_whole_traces_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    trace = Trace()
    recorder = Recorder(trace, Renderer())
    for _ in range(64):
        with trace.span("outer"), trace.span("inner"):
            pass
    spans = SpanMaker(Resource({})).spans(recorder.rows(recorder.take(1000)))
    taken = [span.context.trace_id for span in spans]
    assert 0 < len(set(taken)) < 64
    assert all(taken.count(one) == 2 for one in taken)
