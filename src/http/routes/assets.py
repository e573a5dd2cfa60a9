"""Connectors: the Asset Directory's servers, connections and OAuth (contract, section 11)."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from ...brain.channels.events import JsonObject
from ..asset_port import AssetConnected, AssetConnection, AssetServer, OauthCallback
from ..endpoint import Endpoint, Exchange, Json, Nothing
from ..wire import Input


class ConnectBody(Input, frozen=True, kw_only=True):
    """Which server to connect."""

    server_name: Annotated[
        str, Meta(pattern="^[a-z0-9][a-z0-9_-]{0,31}$", description="Its name in the catalog")
    ]
    server_config: Annotated[
        JsonObject | None,
        Meta(
            description="For a server of the catalog: api_key, client_secret, env, headers, args,"
            " roots, timeout_s. Any other is defined here: command and args, or url."
        ),
    ] = None


class CallbackInput(Input, frozen=True, kw_only=True):
    """What an authorization server answers with (RFC 6749, section 4.1.2; RFC 9207)."""

    state: Annotated[str, Meta(min_length=1, max_length=512)]
    code: Annotated[str, Meta(max_length=8192)] = ""
    error: Annotated[str, Meta(max_length=512)] = ""
    error_description: Annotated[str, Meta(max_length=8192)] = ""
    error_uri: Annotated[str, Meta(max_length=8192)] = ""
    iss: Annotated[str, Meta(max_length=2048)] = ""
    scope: Annotated[str, Meta(max_length=8192)] = ""
    session_state: Annotated[str, Meta(max_length=2048)] = ""
    authuser: Annotated[str, Meta(max_length=512)] = ""
    prompt: Annotated[str, Meta(max_length=512)] = ""
    hd: Annotated[str, Meta(max_length=512)] = ""


class Disconnected(Struct, frozen=True, kw_only=True):
    """The connection is gone, and its credential with it."""

    ref_id: str
    status: Literal["disconnected"] = "disconnected"


async def servers(exchange: Exchange[Nothing]) -> Json:
    """What can be connected."""
    return Json(await exchange.engine.assets.servers())


async def connections(exchange: Exchange[Nothing]) -> Json:
    """What is connected."""
    return Json(await exchange.engine.assets.connections())


async def connect(exchange: Exchange[ConnectBody]) -> Json:
    """Connect, or say where to consent."""
    body = exchange.input
    return Json(await exchange.engine.assets.connect(body.server_name, body.server_config))


async def callback(exchange: Exchange[CallbackInput]) -> Json:
    """Complete an authorization. `state` is the proof that it was begun here."""
    given = exchange.input
    done = OauthCallback(state=given.state, code=given.code, error=given.error, issuer=given.iss)
    answer = await exchange.engine.assets.complete(done)
    return Json(msgspec.structs.replace(answer, auth_url=None))


async def disconnect(exchange: Exchange[Nothing]) -> Json:
    """Remove a connection."""
    ref_id = exchange.path["ref_id"]
    await exchange.engine.assets.disconnect(ref_id)
    return Json(Disconnected(ref_id=ref_id))


_FAILURES = ("MCP_CONNECTION_FAILED", "MCP_TOKEN_EXPIRED", "INVALID_REQUEST")

ENDPOINTS = (
    Endpoint(
        "GET",
        "/assets/servers",
        "The MCP servers that can be connected.",
        servers,
        Nothing,
        answers=Sequence[AssetServer],
    ),
    Endpoint(
        "GET",
        "/assets/connections",
        "The connections, with what is wrong with those that are down.",
        connections,
        Nothing,
        answers=Sequence[AssetConnection],
    ),
    Endpoint(
        "POST",
        "/assets/connect",
        "Connect an MCP server. With OAuth the answer says where a person has to consent.",
        connect,
        ConnectBody,
        answers=AssetConnected,
        refusals=_FAILURES,
        sample={"server_name": "time"},
    ),
    Endpoint(
        "GET",
        "/assets/oauth/callback",
        "Where an authorization server sends the person back; its state is the key.",
        callback,
        CallbackInput,
        answers=AssetConnected,
        refusals=_FAILURES,
    ),
    Endpoint(
        "POST",
        "/assets/callback",
        "The same completion, for a platform that receives the person itself.",
        callback,
        CallbackInput,
        answers=AssetConnected,
        refusals=_FAILURES,
        sample={"state": "<state>", "code": "<code>"},
    ),
    Endpoint(
        "DELETE",
        "/assets/connections/{ref_id}",
        "Revoke and remove a connection.",
        disconnect,
        Nothing,
        answers=Disconnected,
        refusals=("NOT_FOUND",),
    ),
)
