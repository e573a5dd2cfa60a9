"""The actors of the running tree."""

from msgspec import Struct

from ...actors import Snapshot
from ..endpoint import Endpoint, Exchange, Json, Nothing


class ActorList(Struct, frozen=True, kw_only=True):
    """Every actor and supervisor, parents before children."""

    actors: tuple[Snapshot, ...]


async def actors(exchange: Exchange[Nothing]) -> Json:
    """What each actor is doing now."""
    return Json(ActorList(actors=tuple(exchange.engine.actors())))


ENDPOINTS = (
    Endpoint(
        "GET",
        "/actors",
        "Show every actor: state, restarts, mailbox, and the message it is handling.",
        actors,
        Nothing,
        answers=ActorList,
    ),
)
