"""The Engine's metrics, for Prometheus."""

from ..endpoint import Endpoint, Exchange, Nothing, Text


async def metrics(exchange: Exchange[Nothing]) -> Text:
    """Everything that is counted and measured."""
    accept = exchange.visit.headers.get("accept", "")
    body, content_type = exchange.engine.metrics.expose(accept)
    return Text(body.decode(), content_type)


ENDPOINTS = (
    Endpoint(
        "GET",
        "/metrics",
        "Metrics for Prometheus: its text format, or OpenMetrics if the Accept header asks for it.",
        metrics,
        Nothing,
    ),
)
