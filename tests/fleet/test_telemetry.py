"""The orchestrator's telemetry: the same spans as in its database, under its own name."""

import pytest

from tests.traces.collector import collecting, told

from .api import served
from .test_traces import CLIENTS_TRACE, TRACEPARENT


async def test_a_provision_arrives_at_the_collector_with_the_clients_trace(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    with collecting() as collector:
        async with served(database_url, otel_exporter_otlp_endpoint=collector.url) as api:
            key = await api.register()
            headers = {**key, "traceparent": TRACEPARENT}
            await api.ask("POST", "/engines/ada/admit", {"auto_provision": True}, **headers)
            lines = (await api.get(f"/traces/{CLIENTS_TRACE}"))["lines"]
        mine = {
            span.span_id.hex()
            for span in collector.spans.values()
            if span.trace_id.hex() == CLIENTS_TRACE
        }
        assert mine >= {line["row"]["span_id"] for line in lines}, "its stop came later"
        admit = collector.span("POST /engines/ada/admit")
        assert admit.kind == admit.SPAN_KIND_SERVER and admit.parent_span_id.hex() == "cd" * 8
        assert told(admit.attributes)["http.response.status_code"] == 200
        assert collector.resources[0]["service.name"] == "september-orchestrator"
        assert b"admin-key" not in b"".join(collector.bodies)
