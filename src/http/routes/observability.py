"""Observability events (contract, section 16), and the record that a replay is fed with."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from ...brain.raven.happenings import Happening, HappeningFilter
from ...brain.replay.record import RecordedTurn
from ...traces.life import Life
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


class RecordQuery(Input, frozen=True, kw_only=True):
    """What is to be replayed."""

    of: Annotated[
        str,
        Meta(min_length=1, max_length=512, description="A turn's id, or an actor's path or name"),
    ]
    at: Annotated[
        Annotated[str, Meta(pattern="^[0-9a-f]{16}$")] | None,
        Meta(description="The actor's last message: its span id"),
    ] = None


class Record(Struct, frozen=True, kw_only=True):
    """A turn, or one life of an actor."""

    turn: RecordedTurn | None = None
    life: Life | None = None


async def record(exchange: Exchange[RecordQuery]) -> Json:
    """The record of a turn or of an actor's life."""
    query, engine = exchange.input, exchange.engine
    if query.of.startswith(("turn-", "sub-")):
        return Json(Record(turn=await engine.recorded_turn(query.of)))
    return Json(Record(life=await engine.life(query.of, query.at)))


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
    Endpoint(
        "GET",
        "/observability/record",
        "What `september trace replay` is fed with: a turn's transcript, or an actor's life.",
        record,
        RecordQuery,
        answers=Record,
        refusals=("NOT_FOUND", "INVALID_REQUEST"),
        sample={"of": "slots"},
    ),
)
