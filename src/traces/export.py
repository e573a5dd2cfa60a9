"""A trace in the formats of other tools: OTLP/JSON, Chrome and Perfetto JSON, Mermaid."""

import re
from collections.abc import Sequence
from typing import Final, TypeAlias

import msgspec

from .row import TraceRow

SERVICE: Final = "september"

Attributes: TypeAlias = dict[str, str | int | float]
"""What OpenTelemetry is told of a row, by name."""

REQUEST: Final = re.compile(r"(GET|POST|PUT|DELETE|HEAD|OPTIONS|PATCH) (/\S*)")
"""The span of an HTTP request."""

_KINDS: Final = {"INTERNAL": 1, "SERVER": 2, "CLIENT": 3}

_ARROWS: Final = 400
"""Messages in one sequence diagram; more nobody reads, and Mermaid refuses."""


def otlp(rows: Sequence[TraceRow], service: str = SERVICE) -> dict[str, object]:
    """OTLP/JSON, as POST /v1/traces takes it (opentelemetry-proto, JSON encoding).

    Names and attributes follow the GenAI conventions where there are any.
    """
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": [_attribute("service.name", service)]},
                "scopeSpans": [
                    {
                        "scope": {"name": "september.actors"},
                        "spans": [_otlp_span(row) for row in rows if row.kind != "loss"],
                    }
                ],
            }
        ]
    }


def _otlp_span(row: TraceRow) -> dict[str, object]:
    span: dict[str, object] = {
        "traceId": row.trace_id,
        "spanId": row.span_id,
        "name": span_name(row),
        "kind": _KINDS[span_kind(row)],
        "startTimeUnixNano": str(row.at * 1000),
        "endTimeUnixNano": str(row.ended_at * 1000),
        "attributes": [_attribute(key, value) for key, value in attributes(row).items()],
        "status": {"code": 2, "message": row.detail or row.outcome} if row.failed else {"code": 1},
    }
    if row.parent_id:
        span["parentSpanId"] = row.parent_id
    return span


def span_name(row: TraceRow) -> str:
    """A name with few values: a message is called after its type, its actor is an attribute."""
    if row.kind == "message":
        return row.message_type
    return gen_ai_name(row) if row.kind == "span" else row.kind


def span_kind(row: TraceRow) -> str:
    """Which side of a call a row is: a request's server, a model's client, or inside."""
    if row.kind == "span" and REQUEST.fullmatch(row.path):
        return "SERVER"
    calls_out = row.kind == "span" and (row.path == "chat" or row.path.startswith("attempt "))
    return "CLIENT" if calls_out else "INTERNAL"


def gen_ai_name(row: TraceRow) -> str:
    """The span's name: `chat {model}` where the model is known."""
    model = _payload(row).get("model") if row.path == "chat" else None
    return f"chat {model}" if model else row.name


_GEN_AI: Final = {
    "provider": "gen_ai.provider.name",
    "model": "gen_ai.request.model",
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cache_hit_tokens": "gen_ai.usage.cache_read.input_tokens",
    "agent": "gen_ai.agent.name",
    "tool": "gen_ai.tool.name",
    "tool_call_id": "gen_ai.tool.call.id",
}
_OPERATIONS: Final = ("invoke_agent", "chat", "execute_tool")


def attributes(row: TraceRow) -> Attributes:
    """What OpenTelemetry is told of a row."""
    found: Attributes = {
        "september.kind": row.kind,
        "september.outcome": row.outcome,
    }
    if row.kind != "span":
        found |= {"september.actor": row.path, "september.incarnation": row.incarnation}
        found |= {"september.mailbox_wait_us": row.wait_us}
    operation = row.path.partition(" ")[0]
    if row.kind == "span" and operation in _OPERATIONS:
        found["gen_ai.operation.name"] = operation
        found |= _gen_ai(row)
    if row.task_id:
        found["gen_ai.conversation.id"] = row.task_id
    if row.turn_id:
        found["september.turn_id"] = row.turn_id
    if row.failed:
        found["error.type"] = row.outcome
    return found


def _gen_ai(row: TraceRow) -> Attributes:
    payload = _payload(row)
    found: Attributes = {
        other: value
        for ours, other in _GEN_AI.items()
        if isinstance(value := payload.get(ours), str | int) and value
    }
    first = payload.get("first_piece_ms")
    if isinstance(first, int | float):
        found["gen_ai.response.time_to_first_chunk"] = first / 1000
    return found


def _payload(row: TraceRow) -> dict[str, object]:
    try:
        return msgspec.json.decode(row.message or "{}", type=dict[str, object])
    except msgspec.DecodeError:
        return {}


def _attribute(key: str, value: str | float) -> dict[str, object]:
    match value:
        case int():
            return {"key": key, "value": {"intValue": str(value)}}
        case float():
            return {"key": key, "value": {"doubleValue": value}}
        case _:
            return {"key": key, "value": {"stringValue": value}}


def perfetto(rows: Sequence[TraceRow]) -> dict[str, object]:
    """Chrome trace events, which ui.perfetto.dev opens: one track for each actor."""
    tracks = {path: number for number, path in enumerate(dict.fromkeys(map(_track, rows)), 1)}
    names = [
        {"ph": "M", "pid": 1, "tid": number, "name": "thread_name", "args": {"name": path}}
        for path, number in tracks.items()
    ]
    return {"traceEvents": [*names, *(_chrome(row, tracks[_track(row)]) for row in rows)]}


def _track(row: TraceRow) -> str:
    return "spans" if row.kind == "span" else row.path


def _chrome(row: TraceRow, track: int) -> dict[str, object]:
    instant = row.kind not in ("message", "span")
    event: dict[str, object] = {
        "ph": "i" if instant else "X",
        "pid": 1,
        "tid": track,
        "ts": row.at,
        "name": row.message_type or row.name,
        "cat": row.kind,
        "args": {"outcome": row.outcome, "detail": row.detail, "span_id": row.span_id},
    }
    return event | ({"s": "t"} if instant else {"dur": row.handling_us})


def mermaid(rows: Sequence[TraceRow]) -> str:
    """A sequence diagram for Markdown: who sent what to whom, and what went wrong."""
    by_span = {row.span_id: row for row in rows}
    names: dict[str, str] = {}
    lines: list[str] = []
    for row in [one for one in rows if one.kind != "loss"][:_ARROWS]:
        parent = by_span.get(row.parent_id)
        sender = names.setdefault(_lane(parent, by_span), f"p{len(names)}")
        target = names.setdefault(_lane(row, by_span), f"p{len(names)}")
        arrow = "--x" if row.failed else "->>"
        lines.append(f"    {sender}{arrow}{target}: {_label(row)}")
    participants = [f"    participant {short} as {name}" for name, short in names.items()]
    return "\n".join(["sequenceDiagram", *participants, *lines]) + "\n"


def _lane(row: TraceRow | None, by_span: dict[str, TraceRow]) -> str:
    """The actor a row belongs to; a span belongs to the actor it is part of."""
    while row is not None and row.kind == "span":
        row = by_span.get(row.parent_id)
    return row.path.replace(";", ",").replace("#", "") if row is not None else "client"


def _label(row: TraceRow) -> str:
    text = row.message_type if row.kind == "message" else row.name
    text = f"{text} ({row.outcome})" if row.failed else text
    return text.replace(";", ",").replace("#", "").replace("\n", " ")[:80]
