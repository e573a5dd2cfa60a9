"""The Engine's supervision tree, top to bottom, and nothing else."""

from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager

from msgspec import Struct

from ..actors import (
    ActorRef,
    ChildSpec,
    DynamicSpec,
    Intensity,
    Strategy,
    SupervisorSpec,
    Trace,
    Tree,
    ref_of,
    running_tree,
)
from ..config import EngineConfig, Secret
from ..traces.keeper import Bounds, KeeperMessage, TraceKeeper
from ..traces.recorder import Recorder
from ..traces.render import Renderer
from ..traces.telemetry import TelemetrySpecs
from .agent.compaction.compactor import Compactor, CompactorMessage
from .agent.delegation import Delegation
from .agent.direct import DirectCalls, DirectMessage
from .agent.offer import check_catalog
from .agent.toolbox import toolbox
from .agent.tools import Toolbox
from .agent.turn import TurnMessage
from .agent.workshop import Limits, Workshop
from .assets.directory import DirectoryMessage
from .assets.tree import AssetSpecs
from .catalog import Catalog
from .catalog.hooks import HookEvent
from .channels.log import EventLog, LogMessage
from .coordinator.coordinator import Coordinator, CoordinatorMessage
from .coordinator.slots import SlotMessage, TaskSlots
from .files.index import FileIndex
from .files.indexer import FileIndexer, FileIndexerMessage
from .herald.herald import HeraldMessage
from .herald.route import PROVIDERS
from .herald.tree import HeraldSpecs
from .hitl import ApprovalMessage, Approvals
from .learning.centre import LearningCentre, LearningMessage, Timing
from .learning.extraction import Extractor
from .learning.study import Study
from .media.delivery import Delivery, DeliveryPolicy
from .media.intake import Intake, IntakePolicy
from .media.library import Library
from .memory.indexer import Indexer, IndexerMessage
from .memory.memory import Memory
from .metrics.loop_lag import LoopLag
from .metrics.metrics import EngineMetrics
from .raven.raven import BrainTraces
from .retention.retention import Retention, RetentionMessage
from .retention.sweeps import Lifetimes
from .sandbox.sandbox import Sandbox, SandboxMessage
from .security.egress import policy_of
from .security.secrets import SecretScrubber
from .store.brain_file import BrainFile
from .store.database import Database
from .store.store import Store, StoreMessage
from .web.fetch import Fetcher


class Engine(Struct, frozen=True):
    """A running Engine: what the outside may talk to."""

    config: EngineConfig
    tree: Tree
    database: Database
    log: ActorRef[LogMessage]
    approvals: ActorRef[ApprovalMessage]
    coordinator: ActorRef[CoordinatorMessage]
    direct: ActorRef[DirectMessage]
    sandbox: ActorRef[SandboxMessage]
    herald: ActorRef[HeraldMessage]
    assets: ActorRef[DirectoryMessage]
    scrubber: SecretScrubber
    memory: Memory
    tool_names: Collection[str]
    intake: Intake
    telemetry: TelemetrySpecs
    metrics: EngineMetrics
    raven: ActorRef[KeeperMessage]
    learning: ActorRef[LearningMessage]
    recorder: Recorder | None


class EngineSpecs:
    """The specs of one Engine's actors. Their order is the order of start."""

    def __init__(
        self,
        config: EngineConfig,
        catalog: Catalog,
        trace: Trace | None = None,
        answering: Callable[[Toolbox], Toolbox] | None = None,
    ) -> None:
        self._config = config
        self._catalog = catalog
        self._memory: Memory | None = None
        policy = policy_of(config.network_allow)
        self._fetcher = Fetcher(permits=policy.permits if policy is not None else None)
        self._file_index: FileIndex | None = None
        tools = toolbox(config, self._fetcher, self.file_index)
        self._toolbox = answering(tools) if answering is not None else tools
        self.tool_names = frozenset(self._toolbox)
        check_catalog(catalog, self.tool_names)
        brain = BrainFile(config.sqlite_db_path)
        self.scrubber = SecretScrubber(secrets_of(config))
        self.store: ChildSpec[StoreMessage] = ChildSpec(
            "store",
            lambda: Store(
                brain, migrations=config.migrations, migrations_dir=config.migrations_dir
            ),
        )
        render = Renderer(self.scrubber.scrub)
        self.recorder = Recorder(trace, render) if trace is not None else None
        collector = config.otel_exporter_otlp_endpoint
        self.telemetry = TelemetrySpecs(trace, render, collector, "september-engine")
        self.metrics = self._metrics(trace)
        self.lag = ChildSpec("lag", lambda: LoopLag(self.metrics.loop_lag.observe))
        self.raven: ChildSpec[KeeperMessage] = ChildSpec("raven", self._raven)
        self.log: ChildSpec[LogMessage] = ChildSpec("channels", lambda: EventLog(self.database()))
        self.herald = HeraldSpecs(config)
        self.indexer: ChildSpec[IndexerMessage] = ChildSpec(
            "indexer", lambda: Indexer(self.database(), self.herald.embeddings())
        )
        self.file_indexer: ChildSpec[FileIndexerMessage] = ChildSpec(
            "file_indexer", lambda: FileIndexer(self.database(), self.herald.embeddings())
        )
        self.sandbox: ChildSpec[SandboxMessage] = ChildSpec("sandbox", self._sandbox)
        self.assets = AssetSpecs(
            config, self.database, self.sandbox, self.herald.gateway_opener, self.scrubber
        )
        self.approvals: ChildSpec[ApprovalMessage] = ChildSpec("approvals", self._approvals)
        self.slots: ChildSpec[SlotMessage] = ChildSpec(
            "slots", lambda: TaskSlots(config.task_slots, config.task_queue)
        )
        self.compactor: ChildSpec[CompactorMessage] = ChildSpec("compactor", self._compactor)
        self.retention: ChildSpec[RetentionMessage] = ChildSpec("retention", self._retention)
        self.learning: ChildSpec[LearningMessage] = ChildSpec("learning", self._learning)
        self.turns: DynamicSpec[TurnMessage] = DynamicSpec("turns")
        self.coordinator: ChildSpec[CoordinatorMessage] = ChildSpec(
            "coordinator", self._coordinator
        )
        self.direct: ChildSpec[DirectMessage] = ChildSpec(
            "direct", lambda: DirectCalls(self._workshop())
        )

    def root(self) -> SupervisorSpec:
        """The whole tree."""
        turns = (self.slots, self.compactor, self.turns, self.coordinator)
        return SupervisorSpec(
            "engine",
            (
                self.store,
                self.raven,
                *self.telemetry.children,
                self.lag,
                self.log,
                self.herald.root,
                self.indexer,
                self.file_indexer,
                self.sandbox,
                self.approvals,
                self.assets.root,
                SupervisorSpec("tasks", turns, strategy=Strategy.REST_FOR_ONE),
                self.direct,
                self.learning,
                self.retention,
            ),
            intensity=Intensity(restarts=10, seconds=60),
        )

    def database(self) -> Database:
        """The face of the brain, for whoever runs in this tree."""
        return Database(ref_of(self.store))

    def _metrics(self, trace: Trace | None) -> EngineMetrics:
        config, losses = self._config, {"otlp": lambda: self.telemetry.losses}
        recorder = self.recorder
        if recorder is not None:
            losses["brain"] = lambda: recorder.losses
        metrics = EngineMetrics(self._toolbox, PROVIDERS, config.sqlite_db_path, losses)
        if trace is not None:
            trace.attach(metrics.observe, messages=False)
        return metrics

    def _raven(self) -> TraceKeeper:
        config = self._config
        bounds = Bounds(config.trace_ttl, config.trace_max_mb * 2**20)
        return TraceKeeper(self.recorder, BrainTraces(self.database()), bounds)

    def memory(self) -> Memory:
        """The one face of long-term memory, for all who run in this tree."""
        if self._memory is None:
            embeddings = self.herald.embeddings()
            self._memory = Memory(self.database(), embeddings, ref_of(self.indexer))
        return self._memory

    def file_index(self) -> FileIndex:
        """The one index of text files."""
        if self._file_index is None:
            embeddings = self.herald.embeddings()
            self._file_index = FileIndex(self.database(), embeddings, ref_of(self.file_indexer))
        return self._file_index

    def intake(self, database: Database) -> Intake:
        """What takes the media of requests in."""
        config = self._config
        policy = IntakePolicy(
            config.media_presend_validation_enabled, config.media_image_resize_enabled
        )
        return Intake(database, self._fetcher, policy)

    def _delivery(self) -> Delivery:
        config = self._config
        policy = DeliveryPolicy(
            config.content_ingestion_enabled, config.media_error_recovery_enabled
        )
        database = self.database()
        return Delivery(database, Library(database), self._fetcher, policy)

    def _sandbox(self) -> Sandbox:
        config = self._config
        return Sandbox(
            mode=config.sandbox_mode,
            network=config.sandbox_network,
            scrub=config.subprocess_scrub_mode,
        )

    def _approvals(self) -> Approvals:
        lifetime = self._config.channel_state_ttl_hitl
        return Approvals(self.database(), ref_of(self.log), lifetime)

    def _compactor(self) -> Compactor:
        within = self._config.compact_timeout_s
        return Compactor(self.database(), self.herald.gateway_opener(), within)

    def _retention(self) -> Retention:
        config = self._config
        lifetimes = Lifetimes(config.channel_state_ttl_active, config.channel_state_ttl_hitl)
        return Retention(self.database(), lifetimes)

    def _learning(self) -> LearningCentre:
        config = self._config
        extractor = Extractor(self.herald.gateway_opener())
        study = Study(self.database(), self.memory(), extractor, self.scrubber.scrub)
        timing = Timing(config.learning_idle_s, config.learning_interval_s)
        return LearningCentre(study, self.database(), timing)

    def _coordinator(self) -> Coordinator:
        return Coordinator(self._workshop(), ref_of(self.slots), ref_of(self.turns), self._catalog)

    def _workshop(self) -> Workshop:
        config = self._config
        return Workshop(
            database=self.database(),
            memory=self.memory(),
            log=ref_of(self.log),
            open_gateway=self.herald.gateway_opener(self._delivery()),
            approvals=ref_of(self.approvals),
            sandbox=ref_of(self.sandbox),
            toolbox=self._toolbox,
            assets=ref_of(self.assets.directory),
            compactor=ref_of(self.compactor),
            learning=ref_of(self.learning),
            scrubber=self.scrubber,
            workspaces=config.workspace_root,
            roots=config.allowed_roots,
            policy=policy_of(config.network_allow),
            delegates=Delegation(config.sub_agent_slots).tools,
            limits=Limits(
                max_iterations=config.max_iterations,
                sub_agent_depth=config.sub_agent_depth,
                sub_agent_iterations=config.sub_agent_max_iterations,
                sub_agent_tokens=config.sub_agent_max_tokens,
                planner=config.planner_model is not None,
                hooks=_hooks(config),
                concurrent_tools=config.claude_code_max_tool_use_concurrency,
                max_tokens=config.max_tokens,
                compaction=config.reactive_compact_enabled,
                compact_at=config.compact_at,
                compact_timeout_s=config.compact_timeout_s,
            ),
        )


def _hooks(config: EngineConfig) -> frozenset[HookEvent]:
    """The events at which hooks are asked."""
    flags: dict[HookEvent, bool] = {
        "pre_tool": config.pre_tool_hooks_enabled,
        "post_tool": config.post_tool_hooks_enabled,
        "stop": config.stop_hooks_enabled,
    }
    return frozenset(event for event, enabled in flags.items() if enabled)


def secrets_of(config: EngineConfig) -> tuple[str, ...]:
    """Every secret value the Engine was given: what must never leave it."""
    values = (getattr(config, name) for name in config.__dataclass_fields__)
    whole = [value.reveal() for value in values if isinstance(value, Secret)]
    return (*whole, *(part for value in whole if "," in value for part in value.split(",")))


@asynccontextmanager
async def running_engine(
    config: EngineConfig,
    catalog: Catalog,
    *,
    trace: Trace | None = None,
    answering: Callable[[Toolbox], Toolbox] | None = None,
) -> AsyncGenerator[Engine]:
    """Run an Engine while the body runs. Raises StartFailed (see its cause) if it cannot.

    `answering` may put others in the place of the platform's tools: a replay does.
    """
    specs = EngineSpecs(config, catalog, trace, answering)
    async with running_tree(specs.root(), trace=trace) as tree:
        database = Database(tree.ref(specs.store))
        specs.metrics.watch(tree)
        yield Engine(
            config=config,
            tree=tree,
            database=database,
            log=tree.ref(specs.log),
            approvals=tree.ref(specs.approvals),
            coordinator=tree.ref(specs.coordinator),
            direct=tree.ref(specs.direct),
            sandbox=tree.ref(specs.sandbox),
            herald=tree.ref(specs.herald.herald),
            assets=tree.ref(specs.assets.directory),
            scrubber=specs.scrubber,
            memory=specs.memory(),
            tool_names=specs.tool_names,
            intake=specs.intake(database),
            raven=tree.ref(specs.raven),
            learning=tree.ref(specs.learning),
            recorder=specs.recorder,
            telemetry=specs.telemetry,
            metrics=specs.metrics,
        )
