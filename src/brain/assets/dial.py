"""Opening a transport to a server: which one, with which credentials."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx2
from msgspec import Struct

from ...actors import ActorRef
from ...config import Secret
from ...errors import SeptemberError
from ..sandbox.sandbox import PrepareService, Refusal, SandboxMessage
from . import pipes
from .definitions import ServerDefinition, StaticSecrets
from .streams import Watch

_READ_S = 300.0
"""How long a stream of events may be silent before it is opened anew."""


class TokenSource(Protocol):
    """Gives the access token; `stale` is one that the server has just refused."""

    async def __call__(self, stale: Secret | None) -> Secret: ...


class Dialer(Struct, frozen=True):
    """What every connection is opened with. `folder` holds the servers' own folders."""

    sandbox: ActorRef[SandboxMessage]
    folder: Path
    confined: bool

    @asynccontextmanager
    async def dial(
        self, definition: ServerDefinition, secrets: StaticSecrets, token: TokenSource | None
    ) -> AsyncGenerator[tuple[Any, Any]]:
        """The transport's two streams. Raises SeptemberError, OSError or the transport's own."""
        match definition.transport:
            case "stdio":
                launch = await self._launch(definition, secrets)
                async with pipes.stdio(launch) as streams:
                    yield streams
            case "websocket":
                headers = await _headers(definition, secrets, token)
                async with pipes.websocket(definition.url, headers) as streams:
                    yield streams
            case "http":
                async with _streamable(definition, secrets, token) as streams:
                    yield streams
            case "sse":
                async with _sse(definition, secrets, token) as streams:
                    yield streams

    async def _launch(self, definition: ServerDefinition, secrets: StaticSecrets) -> Any:
        variables = dict(secrets.env)
        if secrets.api_key and definition.key_env:
            variables[definition.key_env] = secrets.api_key
        answer = await self.sandbox.call(
            PrepareService(
                (definition.command, *definition.args),
                self.folder / definition.name,
                tuple(map(Path, definition.roots)),
                tuple(map(Path, definition.readable)),
                tuple(variables.items()),
                confined=self.confined,
            )
        )
        if isinstance(answer, Refusal):
            raise SeptemberError(answer.code, answer.message)
        return answer


class _BearerAuth(httpx2.Auth):
    """Sends the access token; one that is refused is renewed once, by whoever owns it."""

    def __init__(self, token: TokenSource) -> None:
        self._token = token

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        access = await self._token(None)
        request.headers["Authorization"] = f"Bearer {access.reveal()}"
        response = yield request
        if response.status_code == 401:
            renewed = await self._token(access)
            request.headers["Authorization"] = f"Bearer {renewed.reveal()}"
            yield request


@asynccontextmanager
async def _streamable(
    definition: ServerDefinition, secrets: StaticSecrets, token: TokenSource | None
) -> AsyncGenerator[tuple[Any, Any]]:
    from mcp.client.streamable_http import streamable_http_client

    timeout = httpx2.Timeout(definition.connect_timeout_s, read=_READ_S)
    watch = Watch()
    async with (
        watch.guarding(),
        _client(definition, secrets, token, timeout, watch) as http,
        streamable_http_client(definition.url, http_client=http) as streams,
    ):
        yield streams


@asynccontextmanager
async def _sse(
    definition: ServerDefinition, secrets: StaticSecrets, token: TokenSource | None
) -> AsyncGenerator[tuple[Any, Any]]:
    from mcp.client.sse import sse_client

    watch = Watch()

    def factory(
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
    ) -> httpx2.AsyncClient:
        del headers, auth
        return _client(definition, secrets, token, timeout or httpx2.Timeout(_READ_S), watch)

    async with (
        watch.guarding(),
        sse_client(
            definition.url, timeout=definition.connect_timeout_s, httpx_client_factory=factory
        ) as streams,
    ):
        yield streams


def _client(
    definition: ServerDefinition,
    secrets: StaticSecrets,
    token: TokenSource | None,
    timeout: httpx2.Timeout,
    watch: Watch,
) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        headers=_static_headers(definition, secrets),
        timeout=timeout,
        auth=_BearerAuth(token) if token is not None else None,
        event_hooks={"response": [watch.response]},
    )


async def _headers(
    definition: ServerDefinition, secrets: StaticSecrets, token: TokenSource | None
) -> dict[str, str]:
    headers = _static_headers(definition, secrets)
    if token is not None:
        headers["Authorization"] = f"Bearer {(await token(None)).reveal()}"
    return headers


def _static_headers(definition: ServerDefinition, secrets: StaticSecrets) -> dict[str, str]:
    key = {definition.key_header: definition.key_prefix + secrets.api_key}
    return {**secrets.headers, **(key if secrets.api_key else {})}
