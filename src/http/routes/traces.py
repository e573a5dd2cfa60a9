"""Reading traces: what happened, and why."""

from functools import partial
from typing import Annotated

from msgspec import Meta

from ...traces.causes import Why
from ...traces.row import TraceFilter
from ..endpoint import Events, Json, Nothing, TraceEndpoint, TraceExchange
from ..trace_port import TraceDetail, TracePage
from ..wire import Input, event_id

Time = Annotated[int | None, Meta(description="Microseconds since 1970")]


class TraceQuery(Input, frozen=True, kw_only=True):
    """Which traces to list."""

    task_id: Annotated[str | None, Meta(description="Only this task's")] = None
    since: Time = None
    until: Time = None
    before: Annotated[
        int | None, Meta(description="Begun before: `started_at` of the last one of a page")
    ] = None
    actor: Annotated[str | None, Meta(description="Path or last name of an actor in it")] = None
    message_type: Annotated[str | None, Meta(description="Type of a message in it")] = None
    errors: Annotated[bool, Meta(description="Only those in which something failed")] = False
    slow_ms: Annotated[
        int | None, Meta(description="Only those with a step that took as many milliseconds")
    ] = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 50


class WhyQuery(Input, frozen=True, kw_only=True):
    """What to explain."""

    of: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=512,
            description="The id of an event, turn, task, trace or span, or an actor's path or name",
        ),
    ]


async def traces(exchange: TraceExchange[TraceQuery]) -> Json:
    """A page of traces."""
    query = exchange.input
    wanted = TraceFilter(
        task_id=query.task_id,
        since=query.since,
        until=query.until,
        before=query.before,
        actor=query.actor,
        message_type=query.message_type,
        errors=query.errors,
        slow_us=query.slow_ms * 1000 if query.slow_ms is not None else None,
        limit=query.limit,
    )
    return Json(await exchange.traces.page(wanted))


async def trace(exchange: TraceExchange[Nothing]) -> Json:
    """One trace."""
    return Json(await exchange.traces.trace(exchange.path["trace_id"]))


async def why(exchange: TraceExchange[WhyQuery]) -> Json:
    """An explanation."""
    return Json(await exchange.traces.why(exchange.input.of))


async def follow(exchange: TraceExchange[Nothing]) -> Events:
    """New rows, for ever."""
    after = event_id(exchange.visit.headers.get("last-event-id"))
    return Events(partial(exchange.traces.follow, after))


ENDPOINTS = (
    TraceEndpoint(
        "GET",
        "/traces",
        "List traces, latest first, and what could not be recorded.",
        traces,
        TraceQuery,
        answers=TracePage,
        sample={"errors": True},
    ),
    TraceEndpoint(
        "GET",
        "/traces/why",
        "Lead from an event, a turn, a task or an actor to the root cause of its state.",
        why,
        WhyQuery,
        answers=Why,
        refusals=("NOT_FOUND",),
        sample={"of": "demo"},
    ),
    TraceEndpoint(
        "GET",
        "/traces/stream",
        "Follow what is recorded: events `rows`, each data line a row as in a trace.",
        follow,
        Nothing,
        streams=True,
        headers={"Last-Event-ID": "Only rows stored after this one"},
    ),
    TraceEndpoint(
        "GET",
        "/traces/{trace_id}",
        "Show a trace: every message, span, crash and decision, each below its cause.",
        trace,
        Nothing,
        answers=TraceDetail,
        refusals=("NOT_FOUND",),
    ),
)
