"""Engines as the registry knows them: their states, and which moves there are between them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID


class Status(StrEnum):
    """Where an Engine is in its life (contract, section 18.5)."""

    PROVISIONING = "provisioning"
    RUNNING = "running"
    SLEEPING = "sleeping"  # stopped because it was idle; an admit may wake it
    STOPPED = "stopped"  # stopped because somebody said so
    FAILED = "failed"
    DESTROYING = "destroying"


class Operation(StrEnum):
    """What may be under way for an Engine. The values are the audit log's actions."""

    PROVISION = "provision"
    START = "start"
    WAKE = "wake"
    RESTART = "auto_restart"
    STOP = "stop"
    SLEEP = "sleep"
    ROTATE_KEY = "rotate_key"
    UPGRADE = "upgrade"
    RESTORE = "restore"
    DESTROY = "destroy"


_ANY: Final = frozenset(Status)
_DOWN: Final = frozenset({Status.SLEEPING, Status.STOPPED, Status.FAILED})
_UP: Final = frozenset({Status.RUNNING})


@dataclass(frozen=True, slots=True)
class Move:
    """From which states an operation may set out, and where it leads if it goes well.

    `to` None means back to where it set out from, but from `failed` to `running`. `fails` is where
    it leads if it does not go well; None means that it is left as it was.
    """

    start: frozenset[Status]
    to: Status | None
    fails: Status | None = None


MOVES: Final[Mapping[Operation, Move]] = {
    Operation.PROVISION: Move(frozenset({Status.PROVISIONING}), Status.RUNNING, Status.FAILED),
    Operation.START: Move(_DOWN, Status.RUNNING, Status.FAILED),
    Operation.WAKE: Move(frozenset({Status.SLEEPING}), Status.RUNNING, Status.FAILED),
    Operation.RESTART: Move(frozenset({Status.FAILED}), Status.RUNNING, Status.FAILED),
    Operation.STOP: Move(_UP, Status.STOPPED),
    Operation.SLEEP: Move(_UP, Status.SLEEPING),
    Operation.ROTATE_KEY: Move(_UP, Status.RUNNING, Status.FAILED),
    Operation.UPGRADE: Move(_UP | _DOWN, None, Status.FAILED),
    Operation.RESTORE: Move(_UP | _DOWN, None, Status.FAILED),
    Operation.DESTROY: Move(_ANY, Status.DESTROYING),
}
"""Every move but one: a running Engine whose probes fail becomes `failed`."""


@dataclass(frozen=True, slots=True)
class Product:
    """Someone who may ask for Engines. `policy` is what was last put (contract, 18.6)."""

    id: UUID
    slug: str
    display_name: str
    policy: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Engine:
    """A row of `engines`. Times are UTC. `failure` is why it is not well: `CODE: message`."""

    id: UUID
    product_id: UUID
    product: str
    user_id: str
    status: Status
    generation: int
    operation: Operation | None
    operation_by: str | None
    operation_started_at: datetime | None
    claimed_by: int | None
    image: str
    next_image: str | None
    next_brain: str | None
    snapshot: str | None
    url: str | None
    container_id: str | None
    port: int
    engine_key_hash: str = field(repr=False)  # no key, sealed or not, is shown in a trace
    engine_key_enc: str = field(repr=False)
    next_key_hash: str | None = field(repr=False)
    next_key_enc: str | None = field(repr=False)
    health_failures: int
    last_health_at: datetime | None
    last_used_at: datetime
    next_wake_at: datetime | None
    restart_attempts: int
    next_restart_at: datetime | None
    running_since: datetime | None
    boot_duration_ms: int | None
    failure: str | None
    created_at: datetime

    @property
    def was_used_lately(self) -> bool:
        """Whether it was handed out since what is under way has begun."""
        began = self.operation_started_at
        return began is not None and self.last_used_at >= began

    @property
    def should_run(self) -> bool:
        """Whether an instance of it is to be up when nothing is under way."""
        return self.status is Status.RUNNING
