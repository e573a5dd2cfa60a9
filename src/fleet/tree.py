"""The orchestrator's supervision tree, top to bottom, and nothing else."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from random import Random
from typing import Final, TypeAlias, cast
from uuid import UUID

import trio

from ..actors import (
    ActorRef,
    ChildSpec,
    DynamicSpec,
    Intensity,
    Restart,
    SupervisorSpec,
    Trace,
    Tree,
    ref_of,
    running_tree,
)
from ..config import FleetConfig
from ..logs import get_logger
from ..traces.keeper import Bounds, KeeperMessage, TraceKeeper
from ..traces.recorder import Recorder
from ..traces.render import Renderer
from ..traces.telemetry import TelemetrySpecs
from .backends.backend import Backend
from .discovery import Discovery, DiscoveryMessage, Enrolment, Search
from .engine_client import EngineClient
from .healing import Healing
from .idle import Idle
from .keys import Vault
from .ledger import Ledger
from .lifecycle import GRACE_S, Lifecycle
from .managed import ManagedEngine, ManagedMessage
from .membership import HEARTBEAT_S, Membership, MembershipMessage, Standing
from .policy import Policy, PolicyMessage
from .prober import Prober
from .reconcile import Reconcile
from .redaction import scrubber
from .resources import Resources
from .roster import Roster
from .rounds import Round, RoundMessage, Rounds
from .store.database import Database, DatabaseUnavailable, Session
from .store.embedded import embedded_postgres
from .store.migrate import migrate
from .trace_store import FleetTraces

_log = get_logger("september.fleet")

_DATABASE_PATIENCE_S: Final = 30.0
_DATABASE_RETRY_S: Final = 0.5

MakeBackend: TypeAlias = Callable[[UUID], Backend]
"""Makes the backend of a fleet, given the fleet's id."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often is done what no setting speaks of, in seconds.

    `grace` passes before an Engine that is to sleep is stopped (see `lifecycle`); `spread` is the
    share of the time between two rounds of probes over which one is spread; `seed` makes the
    chance repeatable by which rounds vary.
    """

    healing: float = 1.0
    waking: float = 5.0
    heartbeat: float = HEARTBEAT_S
    grace: float = GRACE_S
    spread: float = 0.8
    seed: int | None = None


USUAL: Final = Pace()


@dataclass(frozen=True, slots=True)
class Fleet:
    """A running orchestrator: what the outside may talk to."""

    resources: Resources
    tree: Tree
    trace: ActorRef[KeeperMessage]
    roster: Roster
    discovery: ActorRef[DiscoveryMessage]
    prober: ActorRef[RoundMessage]
    idle: ActorRef[RoundMessage]
    healing: ActorRef[RoundMessage]
    reconcile: ActorRef[RoundMessage]


class FleetSpecs:
    """The specs of one orchestrator's actors. Their order is the order of start."""

    def __init__(self, resources: Resources, pace: Pace, trace: Trace | None) -> None:
        self._resources = resources
        self._pace = pace
        self._chance = Random(pace.seed)
        render = Renderer(scrubber(resources.config))
        self._recorder = Recorder(trace, render) if trace is not None else None
        collector = resources.config.otel_exporter_otlp_endpoint
        self.telemetry = TelemetrySpecs(trace, render, collector, "september-orchestrator")
        config = resources.config
        ledger = Ledger(config, resources.database, resources.vault, resources.standing)
        self._lifecycle = Lifecycle(
            config, ledger, resources.backend, resources.client, resources.vault, pace.grace
        )
        self.trace: ChildSpec[KeeperMessage] = ChildSpec("trace", self._trace)
        self.membership: ChildSpec[MembershipMessage] = ChildSpec(
            "membership", lambda: Membership(resources.database, resources.standing, pace.heartbeat)
        )
        self.policy: ChildSpec[PolicyMessage] = ChildSpec("policy", Policy)
        self.engines: DynamicSpec[ManagedMessage] = DynamicSpec(
            "engines", restart=Restart.TRANSIENT
        )
        self.discovery: ChildSpec[DiscoveryMessage] = ChildSpec("discovery", self._discovery)
        self.prober = self._rounds("prober", self._prober, config.orch_health_check_interval_s)
        self.idle = self._rounds("idle", self._idle, pace.waking)
        self.healing = self._rounds("healing", self._healing, pace.healing)
        self.reconcile: ChildSpec[RoundMessage] = ChildSpec("reconcile", self._reconcile)

    def root(self) -> SupervisorSpec:
        """The whole tree."""
        return SupervisorSpec(
            "orchestrator",
            (
                self.trace,
                *self.telemetry.children,
                self.membership,
                self.policy,
                self.engines,
                self.discovery,
                self.prober,
                self.idle,
                self.healing,
                self.reconcile,
            ),
            intensity=Intensity(restarts=10, seconds=60),
        )

    def roster(self) -> Roster:
        """Reaches the Engines' actors, for whoever runs in this tree."""
        return Roster(ref_of(self.engines), self.managed)

    def managed(self, engine_id: UUID) -> ManagedEngine:
        """The actor of an Engine."""
        return ManagedEngine(engine_id, self._lifecycle)

    def _trace(self) -> TraceKeeper:
        config = self._resources.config
        bounds = Bounds(config.orch_trace_ttl_s, config.orch_trace_max_mb * 2**20)
        store = FleetTraces(self._resources.database, self._resources.standing)
        return TraceKeeper(self._recorder, store, bounds)

    def _discovery(self) -> Discovery:
        resources = self._resources
        enrolment = Enrolment(
            resources.config, resources.database, resources.vault, resources.standing
        )
        return Discovery(Search(enrolment, ref_of(self.policy), self.roster()))

    def _prober(self) -> Round:
        resources, roster = self._resources, self.roster()
        spread = self._pace.spread * resources.config.orch_health_check_interval_s
        observe = Idle(resources, roster).observe
        return Prober(resources, roster, observe, spread, self._chance).round

    def _idle(self) -> Round:
        return Idle(self._resources, self.roster()).round

    def _healing(self) -> Round:
        return Healing(self._resources, self.roster()).round

    def _reconcile(self) -> Rounds:
        resources = self._resources
        reconcile = Reconcile(resources, self._lifecycle, self.roster())
        return Rounds(
            "reconcile",
            reconcile.round,
            resources.config.orch_reconcile_interval_s,
            resources.standing,
            also=reconcile.keep_watching,
            chance=self._chance,
        )

    def _rounds(
        self, name: str, make: Callable[[], Round], interval: float
    ) -> ChildSpec[RoundMessage]:
        standing = self._resources.standing
        return ChildSpec(
            name, lambda: Rounds(name, make(), interval, standing, chance=self._chance)
        )


@asynccontextmanager
async def running_fleet(
    config: FleetConfig,
    make_backend: MakeBackend,
    client: EngineClient,
    *,
    trace: Trace | None = None,
    pace: Pace = USUAL,
) -> AsyncGenerator[Fleet]:
    """Run an orchestrator while the body runs; the database's event loop must be open.

    Raises SeptemberError if the database cannot be used, StartFailed if an actor cannot start.
    """
    async with _database_url(config) as url, _opened(config, url) as (database, fleet_id):
        backend = make_backend(fleet_id)
        vault, standing = Vault(config.master_keys), Standing()
        resources = Resources(config, database, backend, client, vault, standing)
        specs = FleetSpecs(resources, pace, trace)
        async with backend.running(), running_tree(specs.root(), trace=trace) as tree:
            yield Fleet(
                resources=resources,
                tree=tree,
                trace=tree.ref(specs.trace),
                roster=Roster(tree.ref(specs.engines), specs.managed),
                discovery=tree.ref(specs.discovery),
                prober=tree.ref(specs.prober),
                idle=tree.ref(specs.idle),
                healing=tree.ref(specs.healing),
                reconcile=tree.ref(specs.reconcile),
            )


def _database_url(config: FleetConfig) -> AbstractAsyncContextManager[str]:
    if config.orch_database_url is not None:
        return nullcontext(config.orch_database_url.reveal())
    return embedded_postgres(config.orch_data_dir / "postgres")


@asynccontextmanager
async def _opened(config: FleetConfig, url: str) -> AsyncGenerator[tuple[Database, UUID]]:
    """The database, reachable and up to date, and the id of the fleet in it."""
    pool = {"pool_min": config.orch_db_pool_min, "pool_max": config.orch_db_pool_max}
    database = Database(url, **pool)
    await _prepare(database)
    try:
        yield database, cast("UUID", await database.read(_fleet_id))
    finally:
        with trio.CancelScope(shield=True):
            await database.close()


async def _prepare(database: Database) -> None:
    """Wait for the database for a while, as after a reboot of everything, and migrate it."""
    limit = trio.current_time() + _DATABASE_PATIENCE_S
    while True:
        try:
            async with database.dedicated(lambda: None) as connection:
                await migrate(connection)
            return await database.open()
        except DatabaseUnavailable as error:
            if trio.current_time() > limit:
                raise
            _log.warning("waiting for the database", why=error.message)
        await trio.sleep(_DATABASE_RETRY_S)


async def _fleet_id(session: Session) -> object:
    return await session.value("SELECT id FROM fleet")
