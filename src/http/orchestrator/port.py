"""What the orchestrator's API says and hears, as structs. Times are ISO-8601 in UTC."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from ...errors import SchemaViolation
from ..wire import Input

UserId = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
State = Literal["provisioning", "running", "sleeping", "stopped", "failed", "destroying"]


def check_user_id(user_id: str) -> None:
    """Refuse what no user's id can be; one in a path has no schema to do it."""
    try:
        msgspec.convert(user_id, UserId)
    except msgspec.ValidationError as error:
        raise SchemaViolation(
            "user_id: must be 1 to 256 characters, none of them a control character",
            {"field": "user_id"},
        ) from error


class ProvisionBody(Input, frozen=True, kw_only=True):
    """For whom, and which image; None is the configured one."""

    user_id: UserId
    engine_version: Annotated[str, Meta(min_length=1, max_length=256)] | None = None


class AdmitBody(Input, frozen=True, kw_only=True):
    """What may be done so that the user can go on."""

    auto_provision: bool = False
    auto_wake: bool = False


class ListQuery(Input, frozen=True, kw_only=True):
    """Which Engines to list."""

    status: State | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    offset: Annotated[int, Meta(ge=0, le=2**31)] = 0


class RegisterBody(Input, frozen=True, kw_only=True):
    """A new product."""

    slug: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,62}$")]
    display_name: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
    policy: dict[str, int | None] = {}  # noqa: RUF012  msgspec copies it for each struct


class PolicyBody(Input, frozen=True, kw_only=True):
    """A product's whole policy; what is not in it has no limit."""

    policy: dict[str, int | None]


class UpgradeBody(Input, frozen=True, kw_only=True):
    """The image to go to."""

    engine_version: Annotated[str, Meta(min_length=1, max_length=256)]


class LogsQuery(Input, frozen=True, kw_only=True):
    """How much of the log."""

    lines: Annotated[int, Meta(ge=1, le=10000)] = 100


class AuditQuery(Input, frozen=True, kw_only=True):
    """Which entries; `before` is the id to go on from."""

    user_id: UserId | None = None
    action: Annotated[str, Meta(pattern="^[a-z_]{1,40}$")] | None = None
    before: Annotated[int, Meta(ge=1, le=2**62)] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class PruneBody(Input, frozen=True, kw_only=True):
    """How old an entry must be to go."""

    older_than_days: Annotated[float, Meta(ge=0, le=36500)]


class EngineSummary(Struct, frozen=True, kw_only=True):
    """An Engine in a list. `product` only where there are several."""

    engine_id: str
    user_id: str
    status: State
    url: str | None
    engine_version: str
    created_at: datetime
    last_health_at: datetime | None
    product: str | UnsetType = UNSET
    failure: str | UnsetType | None = UNSET


class EngineDetail(Struct, frozen=True, kw_only=True):
    """An Engine, with its key."""

    engine_id: str
    user_id: str
    status: State
    url: str | None
    api_key: str
    engine_version: str
    created_at: datetime
    last_health_at: datetime | None


class EngineList(Struct, frozen=True, kw_only=True):
    """One page of Engines, and how many there are."""

    engines: list[EngineSummary]
    total: int


class Provisioned(Struct, frozen=True, kw_only=True):
    """A new Engine that runs."""

    engine_id: str
    user_id: str
    status: State
    url: str | None
    api_key: str


class Admitted(Struct, frozen=True, kw_only=True):
    """The Engine to use now, or the reason why there is none."""

    admitted: bool
    engine: EngineDetail | None
    reason: str | UnsetType = UNSET


class Started(Struct, frozen=True, kw_only=True):
    """It runs."""

    status: State
    url: str | None
    api_key: str


class Changed(Struct, frozen=True, kw_only=True):
    """It is now in this state."""

    status: Literal["stopped", "destroyed"]
    engine_id: str


class Rotated(Struct, frozen=True, kw_only=True):
    """The new key; the old one works for `overlap_seconds` more."""

    engine_id: str
    api_key: str
    overlap_seconds: float


class Upgraded(Struct, frozen=True, kw_only=True):
    """What became of an upgrade: `upgraded` is false when it went back."""

    engine_id: str
    engine_version: str
    upgraded: bool
    status: State


class RestoreBody(Input, frozen=True, kw_only=True):
    """Which backup to put in place of the brain."""

    backup: Annotated[str, Meta(min_length=1, max_length=100)]


class BackupInfo(Struct, frozen=True, kw_only=True):
    """A copy of a brain, on the orchestrator's host. `size` is in bytes."""

    name: str
    path: str
    size: int
    taken_at: datetime


class BackupList(Struct, frozen=True, kw_only=True):
    """The backups of an Engine's user, newest first, and how many stay for how long; 0: no bound.

    The newest one always stays.
    """

    backups: list[BackupInfo]
    keep: int
    max_age_s: int


class Restored(Struct, frozen=True, kw_only=True):
    """What became of a restore: `restored` is false when the brain it had was put back."""

    engine_id: str
    restored: bool
    status: State


class FleetStatus(Struct, frozen=True, kw_only=True):
    """How a product's Engines are (contract, section 20.7)."""

    total: int
    by_status: dict[str, int]
    health: Literal["ok", "degraded", "critical"]
    unhealthy_count: int


class Metrics(Struct, frozen=True, kw_only=True):
    """What happened to a product's Engines. Times are milliseconds."""

    provisions_1h: int
    crashes_1h: int
    restarts_1h: int
    avg_boot_ms: float | None
    total_provisions: int
    total_destroys: int


class Registered(Struct, frozen=True, kw_only=True):
    """A product; its key is shown this once."""

    product_id: str
    slug: str
    platform_api_key: str


class PolicyPut(Struct, frozen=True, kw_only=True):
    """The policy from the next request on."""

    policy: dict[str, int | None]


class ProductSummary(Struct, frozen=True, kw_only=True):
    """A product in a list."""

    product_id: str
    slug: str
    display_name: str
    policy: dict[str, int | None]


class ProductList(Struct, frozen=True, kw_only=True):
    """Every product."""

    products: list[ProductSummary]


class AuditEntry(Struct, frozen=True, kw_only=True):
    """An entry of the audit log."""

    id: int
    timestamp: datetime
    product_id: str | None
    user_id: str | None
    engine_id: str | None
    action: str
    actor: str
    metadata: dict[str, object]
    duration_ms: int | None


class AuditPage(Struct, frozen=True, kw_only=True):
    """Entries, newest first."""

    entries: list[AuditEntry]


class Count(Struct, frozen=True, kw_only=True):
    """How many were touched."""

    count: int


class Logs(Struct, frozen=True, kw_only=True):
    """The end of an Engine's log."""

    text: str


class Health(Struct, frozen=True, kw_only=True):
    """How the orchestrator is."""

    status: Literal["ok", "degraded"]
    leader: bool
