"""The Asset Directory's branch of the tree: connections and keepers by id, then the directory."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from ...actors import (
    ActorRef,
    Backoff,
    ChildSpec,
    DynamicSpec,
    Intensity,
    Restart,
    SupervisorSpec,
    ref_of,
)
from ...config import EngineConfig, Secret
from ...errors import SeptemberError
from ..catalog import catalog_root
from ..herald.gateway import Gateway
from ..sandbox.sandbox import SandboxMessage
from ..security.secrets import SecretScrubber
from ..store.database import Database
from .connection import Connection, ConnectionMessage, Wiring
from .credentials import Credential
from .definitions import ServerDefinition, StaticSecrets, load_servers
from .dial import Dialer, TokenSource
from .directory import Directory, DirectoryMessage, Staff, StandingChanged
from .keeper import GetAccess, Keeper, KeeperMessage, Keeping
from .line import Standing
from .requests import ServerRequests
from .rows import ConnectionRow
from .vault import Vault

CALLBACK = "/assets/oauth/callback"
"""Where authorization servers send people back (contract, section 11)."""

_OFTEN = Intensity(restarts=20, seconds=60.0)
_SLOWLY = Backoff(first=0.1, max=10.0)


class AssetSpecs:
    """The specs of one Engine's connectors."""

    def __init__(
        self,
        config: EngineConfig,
        database: Callable[[], Database],
        sandbox: ChildSpec[SandboxMessage],
        open_gateway: Callable[[], Callable[[], Gateway]],
        scrubber: SecretScrubber,
    ) -> None:
        self._config = config
        self._database = database
        self._sandbox = sandbox
        self._open_gateway = open_gateway
        self._scrubber = scrubber
        self._vault = Vault(config.ad_encryption_key, scrubber.learn)
        self._servers = self.servers()
        self.connections: DynamicSpec[ConnectionMessage] = DynamicSpec(
            "connections", restart=Restart.TRANSIENT, intensity=_OFTEN, backoff=_SLOWLY
        )
        self.keepers: DynamicSpec[KeeperMessage] = DynamicSpec(
            "keepers", restart=Restart.TRANSIENT, intensity=_OFTEN, backoff=_SLOWLY, shutdown=35.0
        )
        self.directory: ChildSpec[DirectoryMessage] = ChildSpec("directory", self._directory)
        self.root = SupervisorSpec("assets", (self.keepers, self.connections, self.directory))

    def servers(self) -> tuple[ServerDefinition, ...]:
        """The catalog's servers, read now. Raises ConfigError naming the file."""
        folder = catalog_root(self._config.catalog_dir) / "servers"
        return tuple(load_servers(folder).values())

    def _directory(self) -> Directory:
        base = self._config.oauth_redirect_base_url
        staff = Staff(
            database=self._database(),
            vault=self._vault,
            connections=ref_of(self.connections),
            keepers=ref_of(self.keepers),
            open_connection=self._open_connection,
            open_keeper=self._open_keeper,
            redirect_uri=base + CALLBACK if base is not None else None,
            allowed_roots=self._config.allowed_roots,
        )
        return Directory(staff, self._servers)

    async def _open_keeper(
        self, row: ConnectionRow, directory: ActorRef[DirectoryMessage]
    ) -> ActorRef[KeeperMessage]:
        keeping = Keeping(self._database(), self._vault, row.definition, row.ref_id)
        return await ref_of(self.keepers).ensure(row.ref_id, partial(Keeper, keeping))

    async def _open_connection(
        self, row: ConnectionRow, directory: ActorRef[DirectoryMessage]
    ) -> ActorRef[ConnectionMessage]:
        wiring = self._wiring(row, directory)
        return await ref_of(self.connections).ensure(row.ref_id, partial(Connection, wiring))

    def _wiring(self, row: ConnectionRow, directory: ActorRef[DirectoryMessage]) -> Wiring:
        definition = row.definition
        folder = self._config.workspace_root.parent / "connectors"
        dialer = Dialer(ref_of(self._sandbox), folder, self._config.asset_directory_sandboxed)
        token = self._token(row.ref_id) if definition.auth_method == "oauth" else None

        open_gateway = self._open_gateway()

        @asynccontextmanager
        async def dial() -> AsyncGenerator[tuple[Any, Any]]:
            secrets = self._secrets(row)
            async with dialer.dial(definition, secrets, token) as streams:
                yield streams

        def report(standing: Standing) -> None:
            directory.cast(StandingChanged(row.ref_id, standing))

        return Wiring(
            definition=definition,
            dial=dial,
            requests=lambda: ServerRequests(definition.name, open_gateway),
            report=report,
            scrub=self._scrubber.scrub,
        )

    def _secrets(self, row: ConnectionRow) -> StaticSecrets:
        """The static part; an OAuth credential is the keeper's alone."""
        if row.sealed is None or row.definition.auth_method == "oauth":
            return StaticSecrets()
        return self._vault.open(row.sealed, Credential).static

    def _token(self, ref_id: str) -> TokenSource:
        keeper_ref = ref_of(self.keepers)

        async def token(stale: Secret | None) -> Secret:
            keeper = keeper_ref.get(ref_id)
            if keeper is None:
                raise SeptemberError("MCP_TOKEN_EXPIRED", "the connection was removed")
            answer = await keeper.call(GetAccess(stale))
            if isinstance(answer, SeptemberError):
                raise answer
            return answer

        return token
