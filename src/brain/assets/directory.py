"""The Asset Directory: which servers are known and connected, and which actions they offer."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias, assert_never

from msgspec import Struct
from msgspec.structs import replace

from ...actors import Actor, ActorRef, DynamicRef, Later, Message, Reply
from ...errors import SeptemberError
from ...logs import get_logger
from ..channels.events import JsonObject
from ..clock import iso
from ..store.database import Database
from . import rows
from .actions import Action
from .connecting import Connected as Connected
from .connecting import consent, finish, revoke, settled
from .connection import ConnectionMessage
from .credentials import Credential, Flow
from .definitions import ServerDefinition, configured
from .keeper import KeeperMessage
from .line import LineState, Standing
from .rows import ConnectionRow
from .vault import Vault

_log = get_logger("september.assets")


class ServerInfo(Struct, frozen=True):
    """A server as GET /assets/servers shows it."""

    server_name: str
    display_name: str
    transport: str
    auth_method: str
    status: str


class ConnectionInfo(Struct, frozen=True):
    """A connection as GET /assets/connections shows it. `problem` says why it is not connected."""

    ref_id: str
    server_name: str
    status: str
    scopes: tuple[str, ...]
    expires_at: str | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class Connect(Message["Connected | SeptemberError"]):
    """Connect a server of the catalog, or the one that `config` defines."""

    server_name: str
    config: JsonObject | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class CompleteOauth(Message["Connected | SeptemberError"]):
    """The authorization server sent the person back."""

    state: str = field(repr=False)
    code: str = field(repr=False)
    error: str = ""
    issuer: str = ""


class Disconnect(Message["None | SeptemberError"], Struct, frozen=True):
    """Revoke and remove a connection."""

    ref_id: str


class ListServers(Message[tuple[ServerInfo, ...]], Struct, frozen=True):
    """All servers that are known."""


class ListConnections(Message[tuple[ConnectionInfo, ...]], Struct, frozen=True):
    """All connections, oldest first."""


class ListActions(Message[tuple[Action, ...]], Struct, frozen=True):
    """What the connected servers offer now."""


class Reach(Message["ActorRef[ConnectionMessage] | SeptemberError"], Struct, frozen=True):
    """The connection to a server."""

    server_name: str


class UseServers(Message[None], Struct, frozen=True):
    """Use these definitions of the catalog from now on."""

    servers: tuple[ServerDefinition, ...]


class StandingChanged(Message[None], Struct, frozen=True):
    """A line is connected, was lost, or offers other actions."""

    ref_id: str
    standing: Standing


class CountDown(Message[int], Struct, frozen=True):
    """How many connections that should be up are not."""


DirectoryMessage: TypeAlias = (
    Connect | CompleteOauth | Disconnect | ListServers | ListConnections | ListActions | Reach
    | UseServers | StandingChanged | CountDown
)  # fmt: skip

_STATUS: Final = {
    LineState.CONNECTED: "connected",
    LineState.CONNECTING: "connecting",
    LineState.WAITING: "reconnecting",
    LineState.REFUSED: "error",
}


class Staff(Struct, frozen=True):
    """Who the directory works with. `open_*` start the actor of a connection, or find it."""

    database: Database
    vault: Vault
    connections: DynamicRef[ConnectionMessage]
    keepers: DynamicRef[KeeperMessage]
    open_connection: Callable[
        [ConnectionRow, ActorRef[DirectoryMessage]], Awaitable[ActorRef[ConnectionMessage]]
    ]
    open_keeper: Callable[
        [ConnectionRow, ActorRef[DirectoryMessage]], Awaitable[ActorRef[KeeperMessage]]
    ]
    redirect_uri: str | None
    allowed_roots: tuple[Path, ...]


class Directory(Actor[DirectoryMessage]):
    """Knows every server and every connection; the connections themselves are actors below."""

    replayable = True

    def __init__(self, staff: Staff, servers: tuple[ServerDefinition, ...]) -> None:
        self._staff = staff
        self._servers = {one.name: one for one in servers}
        self._rows: dict[str, ConnectionRow] = {}
        self._standing: dict[str, Standing] = {}

    async def started(self) -> None:
        await self._staff.database.write(
            partial(rows.use_catalog, definitions=tuple(self._servers.values()))
        )
        await self._reload()
        offered = await self._staff.database.read(rows.kept_actions)
        for row in self._rows.values():
            await self._reseal(row)
            if row.definition.auth_method == "oauth":
                await self._staff.open_keeper(row, self.ref)
            if row.status == "connected":
                actions = offered.get(row.definition.name, ())
                self._standing[row.ref_id] = Standing(LineState.CONNECTING, actions)
                await self._staff.open_connection(row, self.ref)

    async def handle(self, msg: DirectoryMessage) -> Reply | Later:
        match msg:
            case Connect() | CompleteOauth() | Disconnect():
                return await self._change(msg)
            case ListServers():
                return msg.reply(self._listed())
            case ListConnections():
                await self._reload()
                return msg.reply(tuple(map(self._info, self._rows.values())))
            case ListActions():
                return msg.reply(self._actions())
            case Reach(server_name):
                return msg.reply(self._reach(server_name))
            case UseServers(servers):
                self._servers = {one.name: one for one in servers}
                keep = partial(rows.use_catalog, definitions=servers)
                await self._staff.database.write(keep)
                return msg.done()
            case StandingChanged(ref_id, standing):
                await self._note(ref_id, standing)
                return msg.done()
            case CountDown():
                return msg.reply(sum(map(self._is_down, self._rows.values())))
            case _:
                assert_never(msg)

    async def _change(self, msg: Connect | CompleteOauth | Disconnect) -> Reply | Later:
        try:
            match msg:
                case Connect():
                    return await self._connect(msg)
                case CompleteOauth():
                    return await self._complete(msg)
                case Disconnect():
                    return await self._disconnect(msg)
        except SeptemberError as error:
            return msg.reply(error)

    async def _reseal(self, row: ConnectionRow) -> None:
        """Seal a static credential with the newest key; a keeper sees to its own."""
        vault = self._staff.vault
        if row.sealed is None or row.definition.auth_method == "oauth":
            return
        if vault.is_current(row.sealed):
            return
        try:
            credential = vault.open(row.sealed, Credential)
        except SeptemberError:
            return  # the connection says so when it needs the credential
        sealed = vault.seal(credential, credential.secrets)
        swap = partial(
            rows.swap, ref_id=row.ref_id, version=row.version, sealed=sealed,
            status=row.status, scopes=row.scopes, expires_at=row.expires_at,
        )  # fmt: skip
        await self._staff.database.write(swap)

    async def _reload(self) -> None:
        found = await self._staff.database.read(rows.every)
        self._rows = {row.ref_id: row for row in found}

    async def _connect(self, msg: Connect) -> Reply | Later:
        staff = self._staff
        definition, secrets = configured(
            msg.server_name, self._servers.get(msg.server_name), msg.config, staff.allowed_roots
        )
        oauth = definition.auth_method == "oauth"
        redirect_uri = _redirect_uri(staff) if oauth else ""
        sealed: bytes | None = None
        if oauth:
            staff.vault.require()
        if secrets.values:
            sealed = staff.vault.seal(Credential(static=secrets), secrets.values)
        status: rows.Status = "pending_oauth" if oauth else "connected"
        await self._dismiss(definition.name)
        row = await staff.database.write(
            partial(rows.connect, definition=definition, status=status, sealed=sealed)
        )
        self._rows[row.ref_id] = row
        if oauth:
            keeper = await staff.open_keeper(row, self.ref)
            return msg.reply_after(partial(consent, keeper, row.ref_id, redirect_uri))
        connection = await staff.open_connection(row, self.ref)
        return msg.reply_after(partial(settled, connection, row.ref_id))

    async def _dismiss(self, server_name: str) -> None:
        """End what runs for a server that is connected anew."""
        for row in tuple(self._rows.values()):
            if row.definition.name == server_name:
                self._standing.pop(row.ref_id, None)
                await self._staff.connections.stop(row.ref_id)
                await self._staff.keepers.stop(row.ref_id)

    async def _complete(self, msg: CompleteOauth) -> Reply | Later:
        staff = self._staff
        taken = await staff.database.write(partial(rows.take_flow, state=msg.state))
        row = self._rows.get(taken[0]) if taken else None
        if taken is None or row is None:
            raise _refused("state: unknown, used or too old; begin again with /assets/connect")
        flow = staff.vault.open(taken[1], Flow)
        if msg.issuer and msg.issuer.rstrip("/") != flow.endpoints.issuer.rstrip("/"):
            raise _refused("iss: the answer is not from the server that was asked")
        if msg.error or not msg.code:
            raise _refused("the authorization was not given; begin again with /assets/connect")
        keeper = await staff.open_keeper(row, self.ref)
        open_connection = partial(staff.open_connection, row, self.ref)
        return msg.reply_after(partial(finish, keeper, flow, msg.code, open_connection))

    async def _disconnect(self, msg: Disconnect) -> Reply | Later:
        staff, row = self._staff, self._rows.get(msg.ref_id)
        if row is None:
            raise SeptemberError(
                "NOT_FOUND",
                f"no connection {msg.ref_id!r}; GET /assets/connections lists them",
                {"ref_id": msg.ref_id},
            )
        del self._rows[msg.ref_id]
        self._standing.pop(msg.ref_id, None)
        await staff.connections.stop(msg.ref_id)
        keeper = staff.keepers.get(msg.ref_id)
        await staff.database.write(partial(rows.disconnect, ref_id=msg.ref_id))
        return msg.reply_after(partial(revoke, keeper, staff.keepers, msg.ref_id))

    def _listed(self) -> tuple[ServerInfo, ...]:
        known = dict(self._servers)
        known.update((row.definition.name, row.definition) for row in self._rows.values())
        return tuple(
            ServerInfo(name, one.display_name or name, one.transport, one.auth_method, "available")
            for name, one in sorted(known.items())
        )

    def _info(self, row: ConnectionRow) -> ConnectionInfo:
        standing = self._standing.get(row.ref_id)
        problem = standing.problem.message if standing and standing.problem else None
        status: str = row.status
        if status == "connected":
            status = _STATUS[standing.state] if standing else "connecting"
        expires_at = iso(row.expires_at) if row.expires_at is not None else None
        return ConnectionInfo(
            row.ref_id, row.definition.name, status, row.scopes, expires_at, problem
        )

    def _actions(self) -> tuple[Action, ...]:
        """The actions of every line that is up, or was and is being mended."""
        return tuple(
            action
            for ref_id in self._rows
            for action in (self._standing[ref_id].actions if ref_id in self._standing else ())
        )

    def _reach(self, server_name: str) -> ActorRef[ConnectionMessage] | SeptemberError:
        for row in self._rows.values():
            if row.definition.name == server_name:
                found = self._staff.connections.get(row.ref_id)
                if found is not None:
                    return found
        return SeptemberError(
            "MCP_CONNECTION_FAILED", f"{server_name} is not connected; POST /assets/connect does"
        )

    async def _note(self, ref_id: str, standing: Standing) -> None:
        row = self._rows.get(ref_id)
        if row is None:
            return
        before = self._standing.get(ref_id)
        if before is not None and standing.state is not LineState.CONNECTED:
            standing = replace(standing, actions=before.actions)
        self._standing[ref_id] = standing
        if standing.state is LineState.CONNECTED and (
            before is None or before.actions != standing.actions
        ):
            keep = partial(rows.keep_actions, server=row.definition.name, actions=standing.actions)
            await self._staff.database.write(keep)
        if standing.problem is not None:
            _log.warning("connector down", server=row.definition.name, code=standing.problem.code)

    def _is_down(self, row: ConnectionRow) -> bool:
        standing = self._standing.get(row.ref_id)
        return row.status == "connected" and standing is not None and standing.problem is not None


def _redirect_uri(staff: Staff) -> str:
    if staff.redirect_uri is None:
        raise _refused("OAuth needs OAUTH_REDIRECT_BASE_URL: this Engine's address from outside")
    return staff.redirect_uri


def _refused(message: str) -> SeptemberError:
    return SeptemberError("INVALID_REQUEST", message)
