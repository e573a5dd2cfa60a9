"""The connectors' side of the bridge: the Asset Directory, as the routes see it."""

from collections.abc import Sequence

from ..brain.assets.directory import (
    CompleteOauth,
    Connect,
    Connected,
    Disconnect,
    ListConnections,
    ListServers,
)
from ..brain.channels.events import JsonObject
from ..brain.tree import Engine
from ..errors import SeptemberError
from .asset_port import AssetConnected, AssetConnection, AssetServer, OauthCallback


class AssetBridge:
    """Implements `AssetPort` for a running Engine."""

    def __init__(self, engine: Engine) -> None:
        self._directory = engine.assets

    async def servers(self) -> Sequence[AssetServer]:
        """All servers that are known."""
        return [
            AssetServer(
                server_name=one.server_name,
                display_name=one.display_name,
                transport=one.transport,
                auth_method=one.auth_method,
                status=one.status,
            )
            for one in await self._directory.call(ListServers())
        ]

    async def connections(self) -> Sequence[AssetConnection]:
        """All connections, oldest first."""
        return [
            AssetConnection(
                ref_id=one.ref_id,
                server_name=one.server_name,
                status=one.status,
                scopes=one.scopes,
                expires_at=one.expires_at,
                problem=one.problem,
            )
            for one in await self._directory.call(ListConnections())
        ]

    async def connect(self, server_name: str, config: JsonObject | None) -> AssetConnected:
        """Connect a server."""
        return _connected(await self._directory.call(Connect(server_name, config)))

    async def complete(self, callback: OauthCallback) -> AssetConnected:
        """Go on after a person has consented."""
        done = CompleteOauth(callback.state, callback.code, callback.error, callback.issuer)
        return _connected(await self._directory.call(done))

    async def disconnect(self, ref_id: str) -> None:
        """Revoke and remove a connection."""
        refusal = await self._directory.call(Disconnect(ref_id))
        if refusal is not None:
            raise refusal


def _connected(answer: Connected | SeptemberError) -> AssetConnected:
    if isinstance(answer, SeptemberError):
        raise answer
    return AssetConnected(ref_id=answer.ref_id, status=answer.status, auth_url=answer.auth_url)
