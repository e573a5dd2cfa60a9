"""A stored observation, the summary of a trace, and what one may ask for: as JSON and as rows."""

from typing import Annotated, Final

from msgspec import Meta, Struct

FAULTS: Final = frozenset({"crash", "gave_up", "dead_letter", "deadline", "deadlock"})
"""Kinds that are a failure by themselves."""

FINE: Final = frozenset(
    {
        "ok",
        "",
        "unfinished",
        "cancelled",
        "withdrawn",
        "spawn",
        "restart",
        "stop",
        "loss",
        "boot",
        "stopped",
    }
)
"""Outcomes that are nobody's fault. Whoever gave up is told apart by its own span."""


class TraceRow(Struct, frozen=True, kw_only=True):
    """One observation, without secrets. Ids are lower-case hex, empty where there is none.

    `kind` is that of the actors' trace, or `loss` for records that could not be kept. `at` is in
    microseconds since the epoch, as `wait_us` before it and `handling_us` after it. `message` is
    the message, or the payload of a span, as JSON. A span's `path` is its name.
    """

    kind: str
    at: int
    trace_id: str
    span_id: str
    parent_id: str = ""
    path: str
    incarnation: int = 0
    message_type: str = ""
    message: str = ""
    wait_us: int = 0
    handling_us: int = 0
    outcome: str = "ok"
    detail: str = ""
    task_id: str = ""
    turn_id: str = ""

    @property
    def failed(self) -> bool:
        """Whether something went wrong here."""
        return self.kind in FAULTS or self.outcome not in FINE

    @property
    def ended_at(self) -> int:
        """When it was over, in microseconds since the epoch."""
        return self.at + self.handling_us

    @property
    def name(self) -> str:
        """What a reader calls it."""
        if self.kind == "message":
            return f"{self.message_type} to {self.path}"
        return self.path if self.kind == "span" else f"{self.kind} of {self.path}"

    @property
    def size(self) -> int:
        """About how many bytes it takes in a database, with its indexes."""
        texts = len(self.path) + len(self.message) + len(self.detail)
        return _OVERHEAD + texts + len(self.message_type) + len(self.task_id)


_OVERHEAD: Final = 260
"""Ids, numbers and index entries of a row in SQLite, measured with `dbstat`."""


class TraceSummary(Struct, frozen=True, kw_only=True):
    """A trace in a list. `name` is what began it; times are microseconds."""

    trace_id: str
    name: str
    started_at: int
    duration_us: int
    spans: int
    failures: int
    slowest_us: int
    task_id: str = ""
    turn_id: str = ""


class TraceFilter(Struct, frozen=True, kw_only=True):
    """Which traces to list, latest first. Times are microseconds since the epoch."""

    task_id: str | None = None
    since: int | None = None
    until: int | None = None
    actor: str | None = None
    message_type: str | None = None
    errors: bool = False
    slow_us: int | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    before: int | None = None


class Losses(Struct, frozen=True, kw_only=True):
    """Observations that were not kept since the process began, and why."""

    overload: int = 0
    store: int = 0
