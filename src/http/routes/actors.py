"""The actors of the running tree."""

from functools import partial
from typing import Annotated

from msgspec import Meta

from ..endpoint import Events, Json, Nothing, TraceEndpoint, TraceExchange
from ..trace_port import ActorList
from ..wire import Input


class WatchQuery(Input, frozen=True, kw_only=True):
    """How often to look."""

    every_ms: Annotated[int, Meta(ge=100, le=60_000, description="Time between two looks")] = 1000


async def actors(exchange: TraceExchange[Nothing]) -> Json:
    """What each actor is doing now."""
    return Json(exchange.traces.actors())


async def watch(exchange: TraceExchange[WatchQuery]) -> Events:
    """The same, again and again."""
    return Events(partial(exchange.traces.watch, exchange.input.every_ms / 1000))


ENDPOINTS = (
    TraceEndpoint(
        "GET",
        "/actors",
        "Show every actor: state, restarts, mailbox, the message it handles, whom it waits for.",
        actors,
        Nothing,
        answers=ActorList,
    ),
    TraceEndpoint(
        "GET",
        "/actors/stream",
        "Watch every actor: events `actors`, each as GET /actors answers.",
        watch,
        WatchQuery,
        streams=True,
    ),
)
