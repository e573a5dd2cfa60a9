"""What every turn of this Engine works with: its stores, its model, its tools, its limits."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from ...actors import ActorRef
from ..assets.directory import DirectoryMessage
from ..catalog.hooks import HookEvent
from ..channels.channel import Channel
from ..channels.log import LogMessage
from ..herald.gateway import Gateway
from ..hitl import ApprovalMessage
from ..learning.centre import LearningMessage
from ..memory.memory import Memory
from ..sandbox.sandbox import SandboxMessage
from ..security.egress import NetworkPolicy
from ..security.secrets import SecretScrubber
from ..store.database import Database
from .compaction.compactor import CompactorMessage
from .job import Job
from .tools import Tool


class Limits(Struct, frozen=True):
    """What bounds a turn. `heartbeat_s` is the silence after which a sign of life is sent.

    A sub-agent, at most `sub_agent_depth` levels down, has `sub_agent_iterations` model calls and
    `sub_agent_tokens` output tokens. `planner` says that there is a model for the planner;
    `hooks` are the events at which hooks are asked.

    `compact_at` is the share of the window at which to condense, `compact_timeout_s` the time its
    model gets; without `compaction` a context that does not fit is an error.
    """

    max_iterations: int = 20
    concurrent_tools: int = 10
    heartbeat_s: float = 15.0
    max_tokens: int = 4096
    compaction: bool = True
    compact_at: float = 0.8
    compact_timeout_s: float = 60.0
    sub_agent_depth: int = 2
    sub_agent_iterations: int = 10
    sub_agent_tokens: int = 32_768
    planner: bool = False
    hooks: frozenset[HookEvent] = frozenset({"pre_tool", "post_tool", "stop"})


class Delegates(Protocol):
    """Makes the tools with which a job's agent calls others; see delegation.py."""

    def __call__(self, workshop: "Workshop", job: Job, channel: Channel) -> dict[str, Tool]: ...


class Workshop(Struct, frozen=True):
    """Refs and plain modules a turn needs; the same for all turns.

    `open_gateway` makes a turn's own face to the models, with its budget. `workspaces` is the
    folder under which each task has its own; `roots` are the further folders that file tools
    may touch. `policy` says which hosts need no permission; None: there is no such policy.
    """

    database: Database
    memory: Memory
    log: ActorRef[LogMessage]
    open_gateway: Callable[[], Gateway]
    approvals: ActorRef[ApprovalMessage]
    sandbox: ActorRef[SandboxMessage]
    toolbox: Mapping[str, Tool]
    assets: ActorRef[DirectoryMessage]
    compactor: ActorRef[CompactorMessage]
    learning: ActorRef[LearningMessage]
    scrubber: SecretScrubber
    workspaces: Path
    roots: tuple[Path, ...]
    policy: NetworkPolicy | None
    delegates: Delegates
    limits: Limits
