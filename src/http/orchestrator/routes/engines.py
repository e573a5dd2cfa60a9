"""Engines: their life, and finding the one of a user (contract, section 18.4)."""

from typing import Final

from ...endpoint import Json, Nothing
from .. import port
from ..endpoint import AnyEndpoint, Endpoint, Exchange

_BOOT: Final = ("PORT_EXHAUSTION", "BOOT_TIMEOUT")
_BACKEND: Final = ("BACKEND_ERROR", "BACKEND_UNAVAILABLE", "ENGINE_BUSY", "DATABASE_UNAVAILABLE")
_FOUND: Final = ("ENGINE_NOT_FOUND", *_BACKEND)


async def provision(exchange: Exchange[port.ProvisionBody]) -> Json:
    """Make an Engine and wait until it is healthy."""
    return Json(await exchange.desk.provision(exchange.product, exchange.input))


async def admit(exchange: Exchange[port.AdmitBody]) -> Json:
    """Say where the user's Engine is."""
    product, user_id, seen = exchange.product, exchange.user_id, exchange.seen
    return Json(await exchange.desk.admit(product, user_id, exchange.input, seen))


async def show(exchange: Exchange[Nothing]) -> Json:
    """Show an Engine."""
    return Json(await exchange.desk.show(exchange.product, exchange.user_id))


async def list_engines(exchange: Exchange[port.ListQuery]) -> Json:
    """List Engines."""
    return Json(await exchange.desk.list(exchange.product, exchange.input))


async def start(exchange: Exchange[Nothing]) -> Json:
    """Start an Engine."""
    return Json(await exchange.desk.start(exchange.product, exchange.user_id))


async def stop(exchange: Exchange[Nothing]) -> Json:
    """Stop an Engine."""
    return Json(await exchange.desk.stop(exchange.product, exchange.user_id))


async def rotate_key(exchange: Exchange[Nothing]) -> Json:
    """Rotate an Engine's key."""
    return Json(await exchange.desk.rotate_key(exchange.product, exchange.user_id))


async def destroy(exchange: Exchange[Nothing]) -> Json:
    """Destroy an Engine."""
    return Json(await exchange.desk.destroy(exchange.product, exchange.user_id))


ENDPOINTS: Final[tuple[AnyEndpoint, ...]] = (
    Endpoint(
        "POST",
        "/engines/provision",
        "Make an Engine for a user; answers when it is healthy.",
        provision,
        port.ProvisionBody,
        answers=port.Provisioned,
        refusals=(
            "ENGINE_ALREADY_EXISTS",
            "QUOTA_EXCEEDED",
            "POLICY_DENIED",
            *_BOOT,
            *_BACKEND,
        ),
        sample={"user_id": "ada"},
    ),
    Endpoint(
        "POST",
        "/engines/{user_id}/admit",
        "Say where a user's Engine is, on every request of the user; make or wake it if wanted.",
        admit,
        port.AdmitBody,
        answers=port.Admitted,
        refusals=("RATE_LIMITED", "QUOTA_EXCEEDED", *_BOOT, *_BACKEND),
        sample={"auto_provision": True, "auto_wake": True},
        optional_body=True,
    ),
    Endpoint(
        "POST",
        "/engines/{user_id}/start",
        "Start a stopped or sleeping Engine.",
        start,
        Nothing,
        answers=port.Started,
        refusals=("ENGINE_ALREADY_RUNNING", *_BOOT, *_FOUND),
    ),
    Endpoint(
        "POST",
        "/engines/{user_id}/stop",
        "Stop a running Engine; what it knows is kept.",
        stop,
        Nothing,
        answers=port.Changed,
        refusals=("ENGINE_NOT_RUNNING", *_FOUND),
    ),
    Endpoint(
        "POST",
        "/engines/{user_id}/rotate-key",
        "Give a running Engine a new key; the old one works for a while.",
        rotate_key,
        Nothing,
        answers=port.Rotated,
        refusals=("ENGINE_NOT_RUNNING", *_BOOT, *_FOUND),
    ),
    Endpoint(
        "GET",
        "/engines/{user_id}",
        "Show a user's Engine.",
        show,
        Nothing,
        answers=port.EngineDetail,
        refusals=("ENGINE_NOT_FOUND", "DATABASE_UNAVAILABLE"),
    ),
    Endpoint(
        "DELETE",
        "/engines/{user_id}",
        "Destroy a user's Engine with all it knows. There is no way back.",
        destroy,
        Nothing,
        answers=port.Changed,
        refusals=_FOUND,
    ),
    Endpoint(
        "GET",
        "/engines",
        "List the product's Engines.",
        list_engines,
        port.ListQuery,
        answers=port.EngineList,
        refusals=("DATABASE_UNAVAILABLE",),
    ),
)
