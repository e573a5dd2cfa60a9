"""Wall-clock time as the brain stores it, and the ids it hands out."""

import time
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

EARLIEST_MS: Final = -62_135_596_800_000
LATEST_MS: Final = 253_402_300_799_000
"""The years 1 to 9999: what a calendar can show."""


def now_ms() -> int:
    """Milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000


def new_id(kind: str) -> str:
    """A fresh id such as `turn-5f0c…`; the prefix tells a reader what it names."""
    return f"{kind}-{uuid4().hex}"


def timestamp(at: datetime | None = None) -> str:
    """ISO-8601 with milliseconds and Z; `at` defaults to now."""
    moment = at or datetime.now(UTC)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso(ms: int) -> str:
    """A stored time as ISO-8601 with milliseconds and Z."""
    return timestamp(datetime.fromtimestamp(ms / 1000, UTC))
