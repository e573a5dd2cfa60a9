"""1,000 seeded lives of a rotating credential: callers, cancels, outages, restarts, consents.

The keeper, the vault and the SQL are the real ones, and the time is a MockClock's. Only the
brain's thread and the provider's socket are left out, so that a seed is always the same run.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import TypeVar
from urllib.parse import parse_qs

import httpx2
import trio
from cryptography.fernet import Fernet

from september.actors import ActorRef
from september.actors.testing import run_seeded, running
from september.brain.assets import rows
from september.brain.assets.credentials import Credential, Endpoints, Flow, Grant, OauthClient
from september.brain.assets.definitions import ServerDefinition
from september.brain.assets.keeper import FinishFlow, GetAccess, Keeper, KeeperMessage, Keeping
from september.brain.assets.vault import Vault
from september.brain.store.connection import Connection, Handle, connect
from september.brain.store.database import Database
from september.config import Secret
from september.errors import SeptemberError

T = TypeVar("T")

SEEDS = int(os.environ.get("SEPTEMBER_ROTATION_SEEDS", "1000"))
SCHEMA = (Path(__file__).resolve().parents[3] / "migrations/brain/0004_assets.sql").read_text()
KEY = Secret(Fernet.generate_key().decode())
SERVER = ServerDefinition(
    name="sim", transport="http", url="https://sim.example/mcp", auth_method="oauth"
)
ENDPOINTS = Endpoints(
    issuer="https://sim.example",
    authorization="https://sim.example/authorize",
    token="https://sim.example/token",
)
CLIENT = OauthClient(client_id="us", redirect_uri="https://us.example/callback")


class Here(Database):
    """The brain without its thread: the same work on the same SQL, at a checkpoint of trio's."""

    def __init__(self) -> None:
        self.handle: Handle = connect(Path(":memory:"))
        self.handle.execute(SCHEMA)

    async def read(self, work: Callable[[Connection], T]) -> T:
        await trio.lowlevel.checkpoint()
        return work(self.handle)

    async def write(self, work: Callable[[Connection], T]) -> T:
        return await self.read(work)


@dataclass
class Provider(httpx2.AsyncBaseTransport):
    """Rotates refresh tokens, and revokes everything when one is used twice (RFC 9700, 4.14.2)."""

    random: Random
    access: set[str] = field(default_factory=set[str])
    refresh: str = ""
    withdrawn: set[str] = field(default_factory=set[str])
    issued: int = 0
    refreshes: int = 0
    reused: int = 0
    at_once: int = 0
    most_at_once: int = 0
    fault: str = ""

    def issue(self) -> dict[str, object]:
        self.issued += 1
        access, self.refresh = f"access-{self.issued}", f"refresh-{self.issued}"
        self.access.add(access)
        return {"access_token": access, "refresh_token": self.refresh, "expires_in": 3600}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        form = parse_qs((await request.aread()).decode())
        await trio.sleep(self.random.uniform(0.0, 0.2))
        if self.fault == "offline":
            raise httpx2.ConnectError("nobody there")
        if self.fault:
            return httpx2.Response(int(self.fault), text="down")
        if form["grant_type"] == ["authorization_code"]:
            self.access.clear()  # a new consent ends what the one before gave
            self.withdrawn.add(self.refresh)
            return httpx2.Response(200, json=self.issue())
        return await self._rotate(form["refresh_token"][0])

    async def _rotate(self, token: str) -> httpx2.Response:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        if token != self.refresh:
            self.reused += token not in self.withdrawn
            self.at_once -= 1
            return httpx2.Response(400, json={"error": "invalid_grant"})
        self.refreshes += 1
        answer = self.issue()
        await trio.sleep(self.random.uniform(0.0, 0.3))
        self.at_once -= 1
        return httpx2.Response(200, json=answer)


class Life:
    """One seed: what happens to one credential."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.provider = Provider(self.random)
        self.brain = Here()
        self.vault = Vault(KEY, lambda _: None)
        self.consents = 0
        given = self.provider.issue()
        grant = Grant(access=str(given["access_token"]), refresh=str(given["refresh_token"]))
        credential = Credential(endpoints=ENDPOINTS, client=CLIENT, grant=grant)
        sealed = self.vault.seal(credential, credential.secrets)
        self.row = rows.connect(self.brain.handle, SERVER, "connected", sealed)

    def keeper(self) -> Keeper:
        def http() -> httpx2.AsyncClient:
            return httpx2.AsyncClient(transport=self.provider)

        return Keeper(Keeping(self.brain, self.vault, SERVER, self.row.ref_id, http))

    async def live(self) -> None:
        """Two lives of the Engine; the first ends at any moment, also in mid-renewal."""
        async with running(self.keeper()) as keeper:
            with trio.move_on_after(self.random.uniform(0.1, 2.0)):
                await self._busy(keeper)
        async with running(self.keeper()) as keeper:
            await self._busy(keeper)
            self.provider.fault = ""
            await trio.sleep(300)  # past every pause that an outage has caused
            self.provider.access.clear()
            before = self.provider.refreshes
            answers = await self._burst(keeper)
            assert answers == {f"access-{self.provider.issued}"}
            assert self.provider.refreshes == before + 1
            await trio.sleep(3400)  # a token of 3,600 s is renewed 300 s before its end
            assert self.provider.refreshes == before + 2
        self._check()

    async def _busy(self, keeper: ActorRef[KeeperMessage]) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(self.random.randint(2, 12)):
                nursery.start_soon(self._caller, keeper)
            for _ in range(3):
                await trio.sleep(self.random.uniform(0.0, 0.5))
                self._happen(nursery, keeper)

    def _happen(self, nursery: trio.Nursery, keeper: ActorRef[KeeperMessage]) -> None:
        match self.random.choice(("expiry", "expiry", "outage", "mended", "consent")):
            case "expiry":
                self.provider.access.clear()
            case "outage":
                self.provider.fault = self.random.choice(("503", "500", "429", "offline"))
            case "consent" if not self.consents:
                self.consents += 1
                flow = Flow(ref_id=self.row.ref_id, verifier="v", endpoints=ENDPOINTS,
                            client=CLIENT)  # fmt: skip
                nursery.start_soon(partial(self._consent, keeper, flow))
            case _:
                self.provider.fault = ""

    async def _consent(self, keeper: ActorRef[KeeperMessage], flow: Flow) -> None:
        await keeper.call(FinishFlow(flow, "code"))

    async def _caller(self, keeper: ActorRef[KeeperMessage]) -> None:
        for _ in range(4):
            await trio.sleep(self.random.uniform(0.0, 0.4))
            with trio.move_on_after(self.random.choice((0.05, 0.2, 9.0))):
                held = await keeper.call(GetAccess())
                if isinstance(held, Secret) and held.reveal() not in self.provider.access:
                    held = await keeper.call(GetAccess(held))
                if isinstance(held, SeptemberError):
                    assert held.code == "MCP_CONNECTION_FAILED", held

    async def _burst(self, keeper: ActorRef[KeeperMessage]) -> set[str]:
        """Fifty callers whose token has just been refused; the tokens that they get."""
        answers: set[str] = set()
        stale = await keeper.call(GetAccess())
        assert isinstance(stale, Secret), stale

        async def one() -> None:
            answer = await keeper.call(GetAccess(stale))
            assert isinstance(answer, Secret), answer
            answers.add(answer.reveal())

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(one)
        return answers

    def _check(self) -> None:
        row = rows.one(self.brain.handle, self.row.ref_id)
        assert row is not None and row.sealed is not None
        grant = self.vault.open(row.sealed, Credential).grant
        assert row.status == "connected" and grant is not None
        assert grant.refresh == self.provider.refresh, "the newest token is the one that is stored"
        assert (self.provider.reused, self.provider.most_at_once) == (0, 1)


def test_a_rotating_credential_is_never_lost() -> None:
    for seed in range(SEEDS):
        try:
            run_seeded(seed, Life(seed).live)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
