"""Wall-clock time as the brain stores it, and the ids it hands out."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

EARLIEST_MS: Final = -62_135_596_800_000
LATEST_MS: Final = 253_402_300_799_000
"""The years 1 to 9999: what a calendar can show."""


_READ_NS: Final[ContextVar[Callable[[], int]]] = ContextVar("september.clock", default=time.time_ns)


@contextmanager
def other_clock(read_ns: Callable[[], int]) -> Generator[None]:
    """Have the body, and what is started in it, read the time (ns since the epoch) from elsewhere.

    For a replay, in which it is as late as it was then.
    """
    token = _READ_NS.set(read_ns)
    try:
        yield
    finally:
        _READ_NS.reset(token)


def now_ms() -> int:
    """Milliseconds since the epoch, UTC."""
    return _READ_NS.get()() // 1_000_000


def new_id(kind: str) -> str:
    """A fresh id such as `turn-5f0c…`; the prefix tells a reader what it names."""
    return f"{kind}-{uuid4().hex}"


def timestamp(at: datetime | None = None) -> str:
    """ISO-8601 with milliseconds and Z; `at` defaults to now."""
    moment = at or datetime.fromtimestamp(_READ_NS.get()() / 1e9, UTC)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso(ms: int) -> str:
    """A stored time as ISO-8601 with milliseconds and Z."""
    return timestamp(datetime.fromtimestamp(ms / 1000, UTC))
