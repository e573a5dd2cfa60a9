"""The fleet as a whole: its state, its figures, its health."""

from typing import Final

from ....fleet.metrics import CONTENT_TYPE
from ...endpoint import Json, Nothing
from .. import port
from ..endpoint import Answer, AnyEndpoint, Endpoint, Exchange, Text


async def status(exchange: Exchange[Nothing]) -> Json:
    """Say how many Engines are in which state."""
    return Json(await exchange.desk.status(exchange.product))


async def metrics(exchange: Exchange[Nothing]) -> Answer:
    """The figures: JSON, or OpenMetrics for whoever asks for text (contract, section 20.15)."""
    if "text/plain" in (accept := exchange.visit.headers.get("accept", "")) or (
        "openmetrics-text" in accept
    ):
        return await prometheus(exchange)
    return Json(await exchange.desk.metrics(exchange.product))


async def prometheus(exchange: Exchange[Nothing]) -> Text:
    """The figures as OpenMetrics."""
    return Text(await exchange.desk.open_metrics(exchange.product), CONTENT_TYPE)


async def health(exchange: Exchange[Nothing]) -> Json:
    """Say that the orchestrator is up and reaches its database."""
    return Json(await exchange.desk.health())


ENDPOINTS: Final[tuple[AnyEndpoint, ...]] = (
    Endpoint(
        "GET",
        "/status",
        "Count the product's Engines by state.",
        status,
        Nothing,
        answers=port.FleetStatus,
        refusals=("DATABASE_UNAVAILABLE",),
    ),
    Endpoint(
        "GET",
        "/metrics",
        "What happened to the product's Engines; OpenMetrics with Accept: text/plain.",
        metrics,
        Nothing,
        answers=port.Metrics,
        refusals=("DATABASE_UNAVAILABLE",),
    ),
    Endpoint(
        "GET",
        "/metrics/prometheus",
        "The same as OpenMetrics text.",
        prometheus,
        Nothing,
        refusals=("DATABASE_UNAVAILABLE",),
    ),
    Endpoint(
        "GET",
        "/health",
        "Say that the orchestrator is up. 503 while its database does not answer.",
        health,
        Nothing,
        answers=port.Health,
        refusals=("DATABASE_UNAVAILABLE",),
    ),
)
