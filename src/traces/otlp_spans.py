"""Rows as OpenTelemetry spans: the same ids, the GenAI names where there are any, no contents."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from .export import REQUEST, attributes, span_kind, span_name
from .row import TraceRow


class SpanMaker:
    """Makes the SDK's spans of rows; `resource` says which service they are of."""

    def __init__(self, resource: Any) -> None:
        from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
        from opentelemetry.sdk.trace.sampling import Decision
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        self._resource = resource
        self._span = ReadableSpan
        self._context = SpanContext
        self._sampled = TraceFlags(TraceFlags.SAMPLED)
        self._sampler = TracerProvider(resource=resource, shutdown_on_exit=False).sampler
        self._take = Decision.RECORD_AND_SAMPLE
        self._kinds = SpanKind
        self._scope = InstrumentationScope("september.actors")
        self._status = Status
        self._codes = StatusCode

    def spans(self, rows: Sequence[TraceRow]) -> list[Any]:
        """The spans of those rows that OTEL_TRACES_SAMPLER takes: whole traces, or none of one."""
        return [self._made(row) for row in rows if row.kind != "loss" and self._takes(row)]

    def _takes(self, row: TraceRow) -> bool:
        # Samplers look at the low bits of an id as if they were random; ours count upwards there.
        mixed = int.from_bytes(blake2b(row.trace_id.encode(), digest_size=16).digest())
        verdict = self._sampler.should_sample(None, mixed, row.path)
        return bool(verdict.decision == self._take)

    def _made(self, row: TraceRow) -> Any:
        parent = self._identity(row.trace_id, row.parent_id) if row.parent_id else None
        return self._span(
            name=span_name(row),
            context=self._identity(row.trace_id, row.span_id),
            parent=parent,
            resource=self._resource,
            attributes={**attributes(row), **_http(row)},
            kind=self._kinds[span_kind(row)],
            status=self._outcome(row),
            start_time=row.at * 1000,
            end_time=row.ended_at * 1000,
            instrumentation_scope=self._scope,
        )

    def _identity(self, trace_id: str, span_id: str) -> Any:
        return self._context(int(trace_id, 16), int(span_id, 16), False, self._sampled)

    def _outcome(self, row: TraceRow) -> Any:
        if not row.failed:
            return self._status(self._codes.OK)
        return self._status(self._codes.ERROR, row.detail or row.outcome)


def _http(row: TraceRow) -> dict[str, str | int]:
    found = REQUEST.fullmatch(row.path) if row.kind == "span" else None
    if found is None:
        return {}
    told: dict[str, str | int] = {"http.request.method": found[1], "url.path": found[2]}
    status = row.detail if row.outcome == "ok" else row.outcome.removeprefix("http_")
    return told | ({"http.response.status_code": int(status)} if status.isdigit() else {})
