"""Idle Engines are put to sleep, and woken before they want to be awake (contract, 20.6).

The Engine tells; nothing is guessed. What it told is looked at once more just before the stop.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, cast

from . import registry
from .audit import SYSTEM
from .managed import Awaken, GoToSleep
from .prober import Seen
from .resources import Resources
from .roster import Roster
from .store.database import Session

WAKE_AHEAD_S: Final = 30.0
"""How long before its `next_wake_at` a sleeping Engine is woken."""


@dataclass(frozen=True, slots=True)
class Idle:
    """Decides who sleeps and who wakes."""

    resources: Resources
    roster: Roster

    async def observe(self, well: list[Seen]) -> None:
        """Put to sleep who is idle."""
        threshold = self.resources.config.orch_idle_sleep_threshold_s
        now = await self.resources.database.read(clock)
        for one in well:
            if may_sleep(one, threshold, now):
                (await self.roster.of(one.engine.id)).cast(GoToSleep(one.engine))

    async def round(self) -> None:
        """Wake who wants to be awake soon."""
        due = await self.resources.database.read(
            partial(registry.due_for_waking, within=WAKE_AHEAD_S)
        )
        await self.roster.tell_all((engine_id, Awaken(SYSTEM)) for engine_id in due)


async def clock(session: Session) -> datetime:
    """What time it is for the database."""
    return cast("datetime", await session.value("SELECT now()"))


def may_sleep(seen: Seen, threshold: int, now: datetime) -> bool:
    """Whether nothing goes on in an Engine, nor has or will within `threshold` seconds.

    0 means never.
    """
    activity, engine = seen.activity, seen.engine
    if not threshold or activity.busy or activity.idle_seconds < threshold:
        return False
    span = timedelta(seconds=threshold)
    wake = activity.next_wake_at
    if wake is not None and wake < now + max(span, timedelta(seconds=2 * WAKE_AHEAD_S)):
        return False
    return engine.last_used_at < now - span
