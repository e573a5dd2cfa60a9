"""What HTTP needs of an Engine's connectors: answers as structs, and one protocol."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from ..brain.channels.events import JsonObject


class AssetServer(Struct, frozen=True, kw_only=True):
    """An MCP server that can be connected."""

    server_name: str
    display_name: str
    transport: str
    auth_method: str
    status: str


class AssetConnection(Struct, frozen=True, kw_only=True):
    """A connection; `problem` says why it is not connected."""

    ref_id: str
    server_name: str
    status: str
    scopes: Sequence[str]
    expires_at: str | None
    problem: str | None


class AssetConnected(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What connecting came to; with `pending_oauth` a person goes to `auth_url` to consent."""

    ref_id: str
    status: str
    auth_url: str | None = None


class OauthCallback(Struct, frozen=True, kw_only=True):
    """What an authorization server sent a person back with."""

    state: str
    code: str
    error: str
    issuer: str


class AssetPort(Protocol):
    """An Engine's connectors, as the routes see them. Every method may raise SeptemberError."""

    async def servers(self) -> Sequence[AssetServer]:
        """All servers that are known."""
        ...

    async def connections(self) -> Sequence[AssetConnection]:
        """All connections, oldest first."""
        ...

    async def connect(self, server_name: str, config: JsonObject | None) -> AssetConnected:
        """Connect a server."""
        ...

    async def complete(self, callback: OauthCallback) -> AssetConnected:
        """Go on after a person has consented."""
        ...

    async def disconnect(self, ref_id: str) -> None:
        """Revoke and remove a connection."""
        ...
