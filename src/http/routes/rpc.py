"""Direct calls outside the agent loop: one endpoint, methods by name (contract, section 12)."""

from difflib import get_close_matches
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from ...brain.channels.events import JsonObject
from ...errors import SeptemberError
from ..endpoint import Endpoint, Exchange, Json
from ..memory_methods import METHODS
from ..wire import Input, from_body


class RpcBody(Input, frozen=True, kw_only=True):
    """A call."""

    method: Annotated[
        str,
        Meta(
            min_length=1,
            description="memory.<operation>, tool.<name> or skill.<name>, such as tool.grep",
        ),
    ]
    params: Annotated[JsonObject, Meta(description="The method's own fields")] = msgspec.field(
        default_factory=dict[str, Any]
    )
    task_id: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=200,
            description="For tools and skills: the task in whose workspace they work",
        ),
    ] = "rpc"


class RpcResult(Struct, frozen=True):
    """What the method answered. Of a tool or a skill: {output, error, truncated}."""

    result: object


async def rpc(exchange: Exchange[RpcBody]) -> Json:
    """Call a method."""
    body = exchange.input
    namespace, _, name = body.method.partition(".")
    calls = exchange.engine.calls
    match namespace:
        case "tool" if name:
            return Json(RpcResult(await calls.tool(name, body.params, body.task_id)))
        case "skill" if name:
            return Json(RpcResult(await calls.skill(name, body.params, body.task_id)))
        case _:
            return Json(RpcResult(await _memory(exchange)))


async def _memory(exchange: Exchange[RpcBody]) -> object:
    body = exchange.input
    method = METHODS.get(body.method)
    if method is None:
        raise _unknown(body.method)
    params = from_body(msgspec.json.encode(body.params), method.takes)
    return await method.call(exchange, params)


def _unknown(name: str) -> SeptemberError:
    close = get_close_matches(name, METHODS, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    known = [*METHODS, "tool.<name>", "skill.<name>"]
    return SeptemberError(
        "NOT_FOUND",
        f"method: there is no {name[:60]!r}; {hint}known are {', '.join(known)}",
        {"field": "method", "known": known},
    )


ENDPOINTS = (
    Endpoint(
        "POST",
        "/rpc",
        "Call a tool, a skill or an operation of memory directly, outside the agent loop.",
        rpc,
        RpcBody,
        answers=RpcResult,
        refusals=(
            "NOT_FOUND",
            "PERMISSION_DENIED",
            "MCP_CONNECTION_FAILED",
            "MCP_TOKEN_EXPIRED",
            "LLM_PROVIDER_ERROR",
        ),
        sample={
            "method": "memory.episode_write",
            "params": {"key": "launch", "description": "The launch", "value": "It went well."},
        },
    ),
)
