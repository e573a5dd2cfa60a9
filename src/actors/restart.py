"""Restarting: who is started again, how often, after how long."""

from collections.abc import Iterable
from random import Random
from typing import Final

import trio

from .cell import Cell
from .child import Backoff, Intensity, Restart
from .errors import RestartsExhausted
from .trace import Kind

JITTER: Final = Random()
"""Where the jitter of backoffs comes from; simulations seed it."""


def wants_restart(restart: Restart, reason: Exception | None) -> bool:
    """Whether a child that ended for `reason` is started again."""
    match restart:
        case Restart.PERMANENT:
            return True
        case Restart.TRANSIENT:
            return reason is not None
        case Restart.TEMPORARY:
            return False


class RestartWindow:
    """Counts the restarts of the last `intensity.seconds`."""

    __slots__ = ("_backoff", "_intensity", "_times")

    def __init__(self, intensity: Intensity, backoff: Backoff) -> None:
        self._intensity = intensity
        self._backoff = backoff
        self._times: list[float] = []  # few: at most as many as the intensity allows

    def count(self, boss: Cell, child: Cell) -> float:
        """Count one restart and return the seconds to wait first; raise RestartsExhausted."""
        limit = self._intensity
        now = trio.current_time()
        self._times = [time for time in self._times if time > now - limit.seconds]
        if len(self._times) >= limit.restarts:
            error = RestartsExhausted(boss.path, child.path, limit.restarts, limit.seconds)
            boss.last_event = boss.observe(Kind.GAVE_UP, child.last_event, str(error))
            raise error from child.reason
        self._times.append(now)
        return self._backoff.delay(len(self._times), JITTER.random())


async def back_off(delay: float, cells: Iterable[Cell]) -> None:
    """Trace the decision to restart these, and wait `delay` seconds."""
    for cell in cells:
        cell.restarts += 1
        cell.decide(Kind.RESTART, None, f"in {delay:.3f} s")
    await trio.sleep(delay)
