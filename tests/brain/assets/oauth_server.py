"""An MCP server behind OAuth, from the SDK's own server parts: rotates, fails, and counts."""

import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import httpx2
import hypercorn.trio
import trio
from hypercorn.config import Config
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    RefreshToken,
    TokenError,
    construct_redirect_uri,
)
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
from mcp.server.mcpserver import MCPServer
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyHttpUrl

from september.http.server import bind

Scope = MutableMapping[str, Any]


@dataclass
class Provider:
    """An authorization server that rotates refresh tokens and punishes one that is used twice."""

    lifetime_s: float = 3600.0
    rotates: bool = True
    outage: int = 0
    """The status that the token endpoint answers, 0 when it works."""

    delay_s: float = 0.0
    clients: dict[str, OAuthClientInformationFull] = field(default_factory=dict[str, Any])
    codes: dict[str, AuthorizationCode] = field(default_factory=dict[str, AuthorizationCode])
    access: dict[str, AccessToken] = field(default_factory=dict[str, AccessToken])
    refresh: dict[str, RefreshToken] = field(default_factory=dict[str, RefreshToken])
    spent: set[str] = field(default_factory=set[str])
    refreshes: int = 0
    reused: int = 0
    revoked: list[str] = field(default_factory=list[str])
    issued: list[str] = field(default_factory=list[str])
    calls: int = 0

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        assert client_info.client_id is not None
        self.clients[client_info.client_id] = client_info

    async def authorize(
        self, client: OAuthClientInformationFull, params: AuthorizationParams
    ) -> str:
        assert client.client_id is not None
        code = secrets.token_urlsafe(24)
        self.codes[code] = AuthorizationCode(
            code=code,
            scopes=params.scopes or [],
            expires_at=time.time() + 60,
            client_id=client.client_id,
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
        )
        return construct_redirect_uri(str(params.redirect_uri), code=code, state=params.state)

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        return self.codes.get(authorization_code)

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        del self.codes[authorization_code.code]
        return self._issue(authorization_code.client_id, authorization_code.scopes)

    async def load_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: str
    ) -> RefreshToken | None:
        if refresh_token in self.spent:
            self.reused += 1
            self.refresh.clear()  # as RFC 9700, section 4.14.2: the whole family is revoked
        return self.refresh.get(refresh_token)

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        if refresh_token.token not in self.refresh:
            raise TokenError("invalid_grant")
        self.refreshes += 1
        if self.rotates:
            del self.refresh[refresh_token.token]
            self.spent.add(refresh_token.token)
        await trio.sleep(self.delay_s)
        return self._issue(refresh_token.client_id, refresh_token.scopes)

    async def load_access_token(self, token: str) -> AccessToken | None:
        self.calls += 1
        found = self.access.get(token)
        return found if found and (found.expires_at or 0) > time.time() else None

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        self.revoked.append(token.token)
        self.access.pop(token.token, None)
        self.refresh.pop(token.token, None)

    async def exchange_identity_assertion(self, client: Any, params: Any) -> OAuthToken:
        raise TokenError("invalid_grant")

    def _issue(self, client_id: str, scopes: list[str]) -> OAuthToken:
        access, refresh = (secrets.token_urlsafe(32) for _ in range(2))
        self.issued += [access, refresh]
        expires = int(time.time() + self.lifetime_s)
        self.access[access] = AccessToken(
            token=access, client_id=client_id, scopes=scopes, expires_at=expires
        )
        self.refresh[refresh] = RefreshToken(token=refresh, client_id=client_id, scopes=scopes)
        return OAuthToken(
            access_token=access,
            refresh_token=refresh,
            expires_in=int(self.lifetime_s),
            scope=" ".join(scopes),
        )

    def expire_all(self) -> None:
        """Every access token is refused from now on, whatever its lifetime said."""
        self.access.clear()


@dataclass(frozen=True)
class Protected:
    """The running server."""

    url: str
    provider: Provider

    def definition(self, name: str = "protected") -> dict[str, object]:
        """It in the catalog's words."""
        return {
            "name": name,
            "transport": "http",
            "url": f"{self.url}/mcp",
            "auth_method": "oauth",
            "connect_timeout_s": 5,
            "timeout_s": 20,
        }


@asynccontextmanager
async def protected(provider: Provider | None = None) -> AsyncGenerator[Protected]:
    """Run the server on a free port."""
    provider = provider or Provider()
    listener = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = _server(url, provider)
    app: Any = _Failing(server.streamable_http_app(), provider)
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.graceful_timeout = 0.2
    config.loglevel = "CRITICAL"
    start = cast("Any", hypercorn.trio).serve  # its own types are partly unknown

    async def run(*, task_status: trio.TaskStatus[list[str]]) -> None:
        await start(app, config, task_status=task_status)

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        try:
            yield Protected(url, provider)
        finally:
            nursery.cancel_scope.cancel()


def _server(url: str, provider: Provider) -> MCPServer:
    server = MCPServer(
        "protected",
        auth_server_provider=provider,
        auth=AuthSettings(
            issuer_url=AnyHttpUrl(url),
            resource_server_url=AnyHttpUrl(f"{url}/mcp"),
            client_registration_options=ClientRegistrationOptions(
                enabled=True, valid_scopes=["tools"], default_scopes=["tools"]
            ),
            revocation_options=RevocationOptions(enabled=True),
            required_scopes=["tools"],
            validate_token_resource=False,
        ),
        log_level="CRITICAL",
    )

    @server.tool()
    def shout(text: str) -> str:
        """Say it louder."""
        return text.upper()

    return server


class _Failing:
    """In front of the app: the token endpoint's outages."""

    def __init__(self, app: Any, provider: Provider) -> None:
        self._app = app
        self._provider = provider

    async def __call__(
        self,
        scope: Scope,
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        if scope["type"] == "http" and scope["path"] == "/token" and self._provider.outage:
            await send({"type": "http.response.start", "status": self._provider.outage,
                        "headers": []})  # fmt: skip
            await send({"type": "http.response.body", "body": b"down"})
            return
        await self._app(scope, receive, send)


async def consent(auth_url: str) -> tuple[str, str]:
    """Be the person: follow the address, consent; the code and the state that come back."""
    async with httpx2.AsyncClient() as http:
        response = await http.get(auth_url)
    assert response.status_code == 302, response.text
    query = parse_qs(urlsplit(response.headers["location"]).query)
    assert "error" not in query, query
    return query["code"][0], query["state"][0]
