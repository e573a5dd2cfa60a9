"""An orchestrator on the fake backend and a real PostgreSQL, with its clocks turned down."""

import base64
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID, uuid4

import trio

from september.actors import Trace
from september.config import FleetConfig, Secret
from september.errors import SeptemberError
from september.fleet import audit, registry
from september.fleet.backends.backend import Presence
from september.fleet.backends.fake import FakeBackend, FakeClient, FakeEngine, World
from september.fleet.discovery import Admission, Admit, Provision
from september.fleet.instances import Engine, Operation, Product
from september.fleet.keys import new_platform_key, sha256_of
from september.fleet.managed import Outcome, Perform
from september.fleet.rounds import GoRound
from september.fleet.store.database import Session
from september.fleet.tree import Fleet, Pace, running_fleet

MASTER = base64.urlsafe_b64encode(b"a master key for tests of 32 by.").decode()

NEVER = 3600.0


def settings(url: str, **changes: object) -> FleetConfig:
    """Settings with no rounds by themselves: a test says when."""
    config = FleetConfig(
        orch_database_url=Secret(url),
        orch_master_key=Secret(MASTER),
        orch_admin_key=Secret("admin-key"),
        orch_boot_timeout_s=2,
        orch_health_check_interval_s=NEVER,
        orch_health_check_timeout_s=1,
        orch_reconcile_interval_s=NEVER,
        orch_restart_backoff_base_s=0.2,
        orch_restart_backoff_max_s=0.8,
        orch_restart_max_attempts=3,
    )
    return replace(config, **changes)  # type: ignore[arg-type]  # the test knows the fields


@dataclass
class Stage:
    """A running orchestrator and the world its Engines are in."""

    fleet: Fleet
    world: World
    backend: FakeBackend
    product: Product

    async def provision(self, user: str = "ada", image: str | None = None) -> Engine:
        answer = await self.fleet.discovery.call(Provision(self.product, user, image))
        return found(answer)

    async def admit(
        self, user: str = "ada", *, provision: bool = False, wake: bool = False
    ) -> Admission | SeptemberError:
        return await self.fleet.discovery.call(Admit(self.product, user, provision, wake))

    async def perform(self, engine: Engine, operation: Operation, **wanted: object) -> Outcome:
        return await self.fleet.roster.outcome(engine.id, Perform(operation, "tester", wanted))

    async def provision_after_boot(self) -> Engine:
        """Provision, and let the rounds pass that every orchestrator makes when it boots."""
        engine = await self.provision()

        async def probed() -> bool:
            row = await self.row(engine)
            return row is not None and row.last_health_at is not None

        with suppress(trio.TooSlowError):
            await eventually(probed, within=1)
        return engine

    async def reconcile(self) -> None:
        await self.fleet.reconcile.call(GoRound())

    async def probe(self, times: int = 1) -> None:
        for _ in range(times):
            await self.fleet.prober.call(GoRound())

    async def row(self, engine: Engine | UUID) -> Engine | None:
        engine_id = engine if isinstance(engine, UUID) else engine.id
        return await self.fleet.resources.database.read(
            partial(registry.engine, engine_id=engine_id)
        )

    async def status(self, engine: Engine) -> str:
        row = await self.row(engine)
        return "gone" if row is None else row.status.value

    async def actions(self, engine: Engine | None = None) -> list[str]:
        """Actions in the audit log but the sampled probes, oldest first."""
        read = partial(audit.entries, engine_id=engine.id if engine else None, limit=1000)
        entries = await self.fleet.resources.database.read(read)
        actions = [one.entry.action for one in reversed(entries)]
        return [action for action in actions if action != "health_check"]

    async def value(self, sql: str, *args: object) -> object:
        async def work(session: Session) -> object:
            return await session.value(sql, *args)

        return await self.fleet.resources.database.read(work)

    def instance(self, engine: Engine) -> FakeEngine:
        return self.world.engines[engine.id]

    def key_of(self, engine: Engine) -> str:
        return self.fleet.resources.vault.open(engine.engine_key_enc)

    async def agrees(self) -> None:
        """Fail unless rows, instances, storage and ports say the same."""
        rows = await self.fleet.resources.database.read(registry.engines)
        assert all(row.operation is None for row in rows), rows
        assert self.world.engines.keys() <= {row.id for row in rows}
        assert self.world.storage.keys() <= {row.id for row in rows}
        for row in rows:
            there = self.world.engines.get(row.id)
            up = there is not None and there.presence is Presence.RUNNING
            if row.status.value in ("running", "sleeping", "stopped"):
                assert up == row.should_run, (row.status, there)
        ports = await self.value("SELECT count(*) FROM port_allocations")
        assert ports == len(rows)


def found(answer: object) -> Engine:
    if isinstance(answer, SeptemberError):
        raise answer
    assert isinstance(answer, Engine)
    return answer


@asynccontextmanager
async def staged(
    url: str,
    world: World | None = None,
    product: Product | None = None,
    *,
    trace: Trace | None = None,
    **changes: object,
) -> AsyncGenerator[Stage]:
    """Run an orchestrator; on a second call with the same database and world, its successor."""
    world = world or World()
    backend = FakeBackend(world)
    config, client, trace = settings(url, **changes), FakeClient(world), trace or Trace()
    async with running_fleet(
        config, lambda _: backend, client, trace=trace, pace=Pace(spread=0, grace=0)
    ) as one:
        stage = Stage(one, world, backend, product or a_product())
        if product is None:
            insert = partial(
                registry.insert_product,
                product=stage.product,
                key_hash=sha256_of(new_platform_key().reveal()),
            )
            await one.resources.database.write(insert)
        yield stage


def a_product(**policy: object) -> Product:
    unique = uuid4()
    return Product(unique, f"p{unique.hex[:8]}", "A product", policy)


async def eventually(condition: Callable[[], Awaitable[bool]], within: float = 5) -> None:
    """Wait until something becomes true."""
    with trio.fail_after(within):
        while not await condition():  # noqa: ASYNC110  what is waited for is in the database
            await trio.sleep(0.02)
