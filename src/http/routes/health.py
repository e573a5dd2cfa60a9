"""Health, for whoever decides about a restart. The only endpoint without a key."""

from ..endpoint import Endpoint, Exchange, Json, Nothing
from ..port import HealthReport


async def health(exchange: Exchange[Nothing]) -> Json:
    """Report; 503 only for what a restart can mend (contract, section 19.9)."""
    report = await exchange.engine.health()
    return Json(report, 503 if report.status == "error" else 200)


ENDPOINTS = (
    Endpoint(
        "GET",
        "/health",
        "Say how the Engine is. 503 means that a restart would help.",
        health,
        Nothing,
        answers=HealthReport,
    ),
)
