"""Administration of a running Engine: its key (contract, 19.12) and its catalog."""

from typing import Annotated, Final, Literal

import trio
from msgspec import Meta, Struct

from ...errors import ConfigError, SchemaViolation
from ..auth import Standing, refusal
from ..endpoint import Endpoint, Exchange, Json, Nothing, Service
from ..port import CatalogCounts
from ..visit import KEY_HEADER
from ..wire import Input

ROTATION_S: Final = 10.0
"""How long a rotation goes on although its client has left, in seconds."""


class RotateBody(Input, frozen=True, kw_only=True):
    """The new key's hash."""

    key_hash: Annotated[
        str,
        Meta(pattern="^[0-9a-fA-F]{64}$", description="SHA-256 of the new key, 64 hex digits"),
    ]
    overlap_seconds: Annotated[
        float, Meta(ge=0, description="How long the old key still works; kept within the limits")
    ] = 0


class Rotated(Struct, frozen=True, kw_only=True):
    """The new key is in force; the old one works for `overlap_seconds` more."""

    overlap_seconds: float
    status: Literal["rotated"] = "rotated"


class Reloaded(Struct, frozen=True, kw_only=True):
    """The catalog was read again."""

    catalog: CatalogCounts
    status: Literal["reloaded"] = "reloaded"


async def rotate_key(exchange: Exchange[RotateBody]) -> Json:
    """Put a new key in force. Repeating the same rotation changes nothing, with either key."""
    service, body = exchange.service, exchange.input
    overlap = _clamped(service, body.overlap_seconds)
    with trio.CancelScope(shield=True, deadline=trio.current_time() + ROTATION_S):
        async with service.rotating:
            await _rotate(exchange, body.key_hash.lower(), overlap)
    return Json(Rotated(overlap_seconds=overlap))


async def _rotate(exchange: Exchange[RotateBody], key_hash: str, overlap: float) -> None:
    """Durable first: a key that is lost in a crash would lock everybody out."""
    keys = exchange.service.keys
    if keys.is_current(key_hash):
        return
    presented = exchange.visit.headers[KEY_HEADER]
    if keys.check(presented.encode("latin-1")) is not Standing.CURRENT:
        raise refusal(Standing.RETIRED, given=True)
    state = keys.rotated(key_hash, overlap)
    await exchange.engine.save_keys(state)
    keys.adopt(state)


def _clamped(service: Service, overlap: float) -> float:
    settings = service.settings
    return min(max(overlap, settings.min_overlap_seconds), settings.max_overlap_seconds)


async def reload_catalog(exchange: Exchange[Nothing]) -> Json:
    """Read the catalog again."""
    try:
        return Json(Reloaded(catalog=await exchange.engine.reload_catalog()))
    except ConfigError as error:  # of the files as they are now; at boot it would stop the Engine
        raise SchemaViolation(error.message, error.details) from error


ENDPOINTS = (
    Endpoint(
        "POST",
        "/admin/rotate-key",
        "Rotate the Engine's key. For the overlap the old and the new key both work.",
        rotate_key,
        RotateBody,
        answers=Rotated,
        sample={"key_hash": "<sha256 of the new key>", "overlap_seconds": 60},
    ),
    Endpoint(
        "POST",
        "/admin/reload-catalog",
        "Read agents, skills and tools again, without a restart. A broken catalog is refused.",
        reload_catalog,
        Nothing,
        answers=Reloaded,
        refusals=("INVALID_REQUEST",),
    ),
)
