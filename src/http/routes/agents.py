"""The agents of the catalog."""

from ..endpoint import Endpoint, Exchange, Json, Nothing
from ..port import AgentInfo


async def agents(exchange: Exchange[Nothing]) -> Json:
    """List the agents."""
    return Json(tuple(await exchange.engine.agents()))


ENDPOINTS = (
    Endpoint(
        "GET",
        "/agents",
        "List the agents that /execute can run.",
        agents,
        Nothing,
        answers=tuple[AgentInfo, ...],
    ),
)
