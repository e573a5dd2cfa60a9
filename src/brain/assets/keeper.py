"""A keeper owns one connection's credential: nobody else renews, replaces or revokes it.

Renewal is single flight and never in a caller's hands: it runs beside the inbox, so a caller
that gives up does not lose a rotated token. What is renewed is stored by compare and swap
before anybody may use it.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias, assert_never

import httpx2
import msgspec
import trio

from ...actors import Actor, ActorRef, Backoff, Later, Message, Reply
from ...config import Secret
from ...errors import SeptemberError
from ...logs import get_logger
from ..clock import now_ms
from ..store.database import Database
from . import oauth, rows
from .credentials import Credential, Flow, Grant, OauthClient
from .definitions import ServerDefinition
from .discovery import discover, failed
from .rows import ConnectionRow
from .vault import Vault

_log = get_logger("september.assets.keeper")

_EARLY_SHARE: Final = 0.1
_EARLY_MS: Final = (5_000, 300_000)
"""A token is renewed a tenth of its life before its end: at least 5 s, at most 5 minutes."""

_BACKOFF: Final = Backoff(first=1.0, factor=2.0, max=120.0, jitter=0.0)
_REVOKE_S: Final = 5.0


class BeginFlow(Message["Consent | SeptemberError"], msgspec.Struct, frozen=True):
    """Make an authorization whose callback comes to `redirect_uri`."""

    redirect_uri: str


@dataclass(frozen=True, slots=True)
class Consent:
    """Where the person goes; the address holds the secret `state`."""

    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class FinishFlow(Message["None | SeptemberError"]):
    """The callback came: turn the code into tokens."""

    flow: Flow = field(repr=False)
    code: str = field(repr=False)


class GetAccess(Message["Secret | SeptemberError"], msgspec.Struct, frozen=True):
    """The access token; `stale` is one that the server has just refused."""

    stale: Secret | None = None


@dataclass(frozen=True, slots=True)
class Renewed(Message[None]):
    """A renewal is over."""

    outcome: "oauth.Outcome" = field(repr=False)
    version: int


class RenewDue(Message[None], msgspec.Struct, frozen=True):
    """The credential of this version comes to its end."""

    version: int


class Revoke(Message[None], msgspec.Struct, frozen=True):
    """Tell the authorization server, if it listens, that the tokens are not needed any more."""


KeeperMessage: TypeAlias = BeginFlow | FinishFlow | GetAccess | Renewed | RenewDue | Revoke


class Keeping(msgspec.Struct, frozen=True):
    """What a keeper works with. `http` makes a client for the authorization server."""

    database: Database
    vault: Vault
    definition: ServerDefinition
    ref_id: str
    http: Callable[[], httpx2.AsyncClient] = oauth.http_client


class _Renewal:
    """One renewal, and everybody who waits for it."""

    def __init__(self) -> None:
        self._over = trio.Event()
        self._answer: Secret | SeptemberError = failed("the token could not be renewed")

    def settle(self, answer: Secret | SeptemberError) -> None:
        """Tell all who wait."""
        self._answer = answer
        self._over.set()

    async def answer(self) -> Secret | SeptemberError:
        """Wait for the end."""
        await self._over.wait()
        return self._answer


class Keeper(Actor[KeeperMessage]):
    """Keeps the credential of one connection valid."""

    urgent = (Renewed,)

    def __init__(self, keeping: Keeping) -> None:
        self._keeping = keeping
        self._credential = Credential()
        self._version = 0
        self._renewal: _Renewal | None = None
        self._dead: SeptemberError | None = None
        self._failures = 0
        self._not_before = 0.0

    async def started(self) -> None:
        await self._load()

    async def handle(self, msg: KeeperMessage) -> Reply | Later:
        match msg:
            case BeginFlow(redirect_uri):
                work = partial(_begin, self._keeping, self._credential, redirect_uri)
                return msg.reply_after(work)
            case FinishFlow(flow, code):
                return msg.reply(await self._finish(flow, code))
            case GetAccess(stale):
                return self._access(msg, stale)
            case Renewed(outcome, version):
                await self._renewed(outcome, version)
                return msg.done()
            case RenewDue(version):
                if version == self._version and self._renewal is None and self._dead is None:
                    self._renew()
                return msg.done()
            case Revoke():
                return msg.reply_after(partial(_revoke, self._keeping, self._credential))
            case _:
                assert_never(msg)

    async def _load(self) -> None:
        """Read the credential, sealing it anew if its key is not the newest."""
        keeping = self._keeping
        row = await keeping.database.read(partial(rows.one, ref_id=keeping.ref_id))
        if row is None or row.sealed is None:
            return
        try:
            self._adopt(keeping.vault.open(row.sealed, Credential), row.version)
        except SeptemberError as error:
            self._dead = error
            return
        if row.status == "expired":
            self._dead = _expired(keeping.definition.name, "a person has to consent again")
        elif not keeping.vault.is_current(row.sealed):
            await self._keep(self._credential, row)

    async def _keep(self, credential: Credential, row: ConnectionRow) -> None:
        sealed = self._keeping.vault.seal(credential, credential.secrets)
        swap = partial(
            rows.swap, ref_id=row.ref_id, version=row.version, sealed=sealed,
            status=row.status, scopes=row.scopes, expires_at=row.expires_at,
        )  # fmt: skip
        if await self._keeping.database.write(swap):
            self._version = row.version + 1

    def _adopt(self, credential: Credential, version: int) -> None:
        """Use this credential from now on, and see to it before it ends."""
        self._credential, self._version = credential, version
        self._dead = None
        grant = credential.grant
        if grant is not None and grant.refresh and grant.expires_at is not None:
            delay = max(0.0, (grant.expires_at - _early(grant) - now_ms()) / 1000)
            self.beside(partial(_alarm, delay, self.ref, version))

    def _access(self, msg: GetAccess, stale: Secret | None) -> Reply | Later:
        grant = self._credential.grant
        if self._dead is not None:
            return msg.reply(self._dead)
        if grant is None:
            name = self._keeping.definition.name
            return msg.reply(_expired(name, "nobody has consented yet"))
        held = Secret(grant.access)
        ended = grant.expires_at is not None and grant.expires_at <= now_ms()
        if not ended and held != stale:
            return msg.reply(held)
        if self._renewal is None and trio.current_time() < self._not_before:
            return msg.reply(self._later("the authorization server did not answer just now"))
        return msg.reply_after((self._renewal or self._renew()).answer)

    def _renew(self) -> _Renewal:
        self._renewal = _Renewal()
        self.beside(partial(_renew, self._keeping, self._credential, self._version, self.ref))
        return self._renewal

    async def _renewed(self, outcome: "oauth.Outcome", version: int) -> None:
        renewal, self._renewal = self._renewal, None
        held = self._credential.grant
        if version < self._version and held is not None:
            # A person has consented anew meanwhile: what became of the old token does not matter.
            answer: Secret | SeptemberError = Secret(held.access)
        else:
            answer = await self._after(outcome, version)
        if renewal is not None:
            renewal.settle(answer)

    async def _after(self, outcome: "oauth.Outcome", version: int) -> Secret | SeptemberError:
        match outcome:
            case Grant():
                self._failures = 0
                self._adopt(msgspec.structs.replace(self._credential, grant=outcome), version)
                return Secret(outcome.access)
            case oauth.Dead(reason):
                return await self._expire(reason)
            case oauth.Later(reason, retry_after):
                return self._put_off(reason, retry_after)
            case _:
                assert_never(outcome)

    async def _expire(self, reason: str) -> SeptemberError:
        """Only the authorization server's own word ends a credential."""
        keeping = self._keeping
        self._dead = _expired(keeping.definition.name, reason)
        expire = partial(rows.expire, ref_id=keeping.ref_id, version=self._version)
        await keeping.database.write(expire)
        _log.warning("credential refused", server=keeping.definition.name, reason=reason)
        return self._dead

    def _put_off(self, reason: str, retry_after: float | None) -> SeptemberError:
        """Keep everything and try again later."""
        self._failures += 1
        wait = min(max(_BACKOFF.delay(self._failures, 0.5), retry_after or 0.0), 3600.0)
        self._not_before = trio.current_time() + wait
        self.beside(partial(_alarm, wait, self.ref, self._version))
        _log.warning("renewal put off", server=self._keeping.definition.name, reason=reason)
        return self._later(reason)

    def _later(self, reason: str) -> SeptemberError:
        name = self._keeping.definition.name
        return failed(f"the token of {name} could not be renewed, it will be tried again: {reason}")

    async def _finish(self, flow: Flow, code: str) -> SeptemberError | None:
        """Exchange and store; the answer comes when the grant is durable."""
        keeping = self._keeping
        try:
            async with keeping.http() as http:
                grant = await oauth.exchange(http, flow, code)
        except SeptemberError as error:
            return error
        credential = msgspec.structs.replace(
            self._credential, endpoints=flow.endpoints, client=flow.client, grant=grant
        )
        row = await keeping.database.read(partial(rows.one, ref_id=keeping.ref_id))
        if row is None or not await _store(keeping, credential, row.version):
            return failed("the connection was removed or replaced meanwhile; begin again")
        self._adopt(credential, row.version + 1)
        return None


def _early(grant: Grant) -> int:
    """Milliseconds before the end at which to renew."""
    assert grant.expires_at is not None
    least, most = _EARLY_MS
    life = max(0, grant.expires_at - now_ms())
    return int(min(most, max(least, life * _EARLY_SHARE)))


async def _alarm(delay: float, keeper: ActorRef[KeeperMessage], version: int) -> None:
    await trio.sleep(delay)
    keeper.cast(RenewDue(version))


async def _renew(
    keeping: Keeping, credential: Credential, version: int, keeper: ActorRef[KeeperMessage]
) -> None:
    """Renew and store, whatever happens to those who wait; then report.

    Shielded: what a rotating server has answered must be stored even if the Engine is stopping.
    """
    outcome: oauth.Outcome = oauth.Later("the renewal failed")
    grant = credential.grant
    assert grant is not None
    with trio.CancelScope(shield=True, deadline=trio.current_time() + 2 * oauth.TIMEOUT_S):
        try:
            if credential.endpoints is None or credential.client is None:
                outcome = oauth.Dead("the server was never asked for consent")
            else:
                async with keeping.http() as http:
                    outcome = await oauth.renew(
                        http, credential.endpoints, credential.client, grant
                    )
            if isinstance(outcome, Grant):
                renewed = msgspec.structs.replace(credential, grant=outcome)
                outcome, version = await _settled(keeping, renewed, version)
        except SeptemberError as error:
            outcome = oauth.Later(error.message)
    keeper.cast(Renewed(outcome, version))


async def _settled(
    keeping: Keeping, renewed: Credential, version: int
) -> tuple["oauth.Outcome", int]:
    """Store what was renewed; if another has stored meanwhile, theirs is the one that counts."""
    assert renewed.grant is not None
    if await _store(keeping, renewed, version):
        return renewed.grant, version + 1
    row = await keeping.database.read(partial(rows.one, ref_id=keeping.ref_id))
    if row is None or row.sealed is None:
        return oauth.Later("the connection was removed meanwhile"), version
    theirs = keeping.vault.open(row.sealed, Credential)
    return theirs.grant or oauth.Later("the connection begins anew"), row.version


async def _store(keeping: Keeping, credential: Credential, version: int) -> bool:
    grant = credential.grant
    assert grant is not None
    sealed = keeping.vault.seal(credential, credential.secrets)
    swap = partial(
        rows.swap, ref_id=keeping.ref_id, version=version, sealed=sealed, status="connected",
        scopes=grant.scopes, expires_at=grant.expires_at,
    )  # fmt: skip
    return await keeping.database.write(swap)


async def _begin(
    keeping: Keeping, credential: Credential, redirect_uri: str
) -> Consent | SeptemberError:
    """Find the server, be known to it, and keep what the callback will need."""
    definition = keeping.definition
    try:
        async with keeping.http() as http:
            endpoints = await discover(http, definition.url)
            known = credential.client
            if definition.oauth.client_id is not None:
                client = _own_client(definition, credential, redirect_uri)
            elif known is not None and known.redirect_uri == redirect_uri:
                client = known
            else:
                client = await oauth.register(http, endpoints, redirect_uri)
    except SeptemberError as error:
        return error
    flow = Flow(
        ref_id=keeping.ref_id,
        verifier=oauth.new_verifier(),
        endpoints=endpoints,
        client=client,
        scopes=definition.oauth.scopes or endpoints.scopes,
    )
    state = secrets.token_urlsafe(32)
    sealed = keeping.vault.seal(flow, (state, *flow.secrets))
    begin = partial(rows.begin_flow, state=state, ref_id=keeping.ref_id, sealed=sealed)
    await keeping.database.write(begin)
    return Consent(oauth.authorization_url(flow, state))


def _own_client(
    definition: ServerDefinition, credential: Credential, redirect_uri: str
) -> OauthClient:
    secret = credential.static.client_secret
    return OauthClient(
        client_id=definition.oauth.client_id or "",
        client_secret=secret,
        method="client_secret_post" if secret else "none",
        redirect_uri=redirect_uri,
    )


async def _revoke(keeping: Keeping, credential: Credential) -> None:
    if credential.grant and credential.endpoints and credential.client:
        with trio.move_on_after(_REVOKE_S):
            async with keeping.http() as http:
                await oauth.revoke(http, credential.endpoints, credential.client, credential.grant)


def _expired(server: str, reason: str) -> SeptemberError:
    return SeptemberError(
        "MCP_TOKEN_EXPIRED",
        f"{server} does not accept the credential any more ({reason}); connect again with"
        " POST /assets/connect",
        {"server_name": server},
    )
