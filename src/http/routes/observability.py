"""Observability events: what an operator counts (contract, section 16)."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from ...brain.raven.happenings import Happening, HappeningFilter
from ..endpoint import Endpoint, Exchange, Json
from ..wire import Input

EventKind: TypeAlias = Literal[
    "error", "slow_tool", "permission_denied", "migration", "catalog_reload", "cache_hit_alert"
]


class EventsQuery(Input, frozen=True, kw_only=True):
    """Which events to list."""

    kind: Annotated[EventKind | None, Meta(description="Only of this kind")] = None
    task_id: Annotated[str | None, Meta(description="Only this task's")] = None
    since: Annotated[int | None, Meta(description="From this time on, in ms since 1970")] = None
    before: Annotated[int | None, Meta(description="Below this id: the last one of a page")] = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class EventPage(Struct, frozen=True, kw_only=True):
    """Events, latest first."""

    events: Sequence[Happening]


async def events(exchange: Exchange[EventsQuery]) -> Json:
    """A page of events."""
    query = exchange.input
    wanted = HappeningFilter(
        kind=query.kind,
        task_id=query.task_id,
        since=query.since,
        before=query.before,
        limit=query.limit,
    )
    return Json(EventPage(events=await exchange.engine.happenings(wanted)))


ENDPOINTS = (
    Endpoint(
        "GET",
        "/observability/events",
        "List errors, slow tools, denials, migrations, reloads and cache alerts, latest first.",
        events,
        EventsQuery,
        answers=EventPage,
        sample={"kind": "error"},
    ),
)
