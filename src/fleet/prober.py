"""The prober: asks every running Engine how it is (contract, section 18.7)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Final, TypeAlias

import trio

from ..logs import get_logger
from . import audit, registry
from .engine_client import Activity, EngineClient, Unreachable
from .instances import Engine, Status
from .managed import NotWell
from .resources import Resources
from .roster import Roster
from .store.database import Session

_log = get_logger("september.fleet.prober")

_AT_ONCE: Final = 50
_WRITE_EVERY: Final = 500
"""Good probes that are written in one statement."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A running Engine that is well, and what goes on in it."""

    engine: Engine
    activity: Activity


Observer: TypeAlias = Callable[[list[Seen]], Awaitable[None]]


@dataclass(slots=True)
class Prober:
    """Makes rounds; `observer` hears of those that are well.

    A round is spread over `spread` seconds, in another order each time, so that thousands of
    Engines do not answer in one burst (contract, section 20.12).
    """

    resources: Resources
    roster: Roster
    observer: Observer
    spread: float
    chance: Random = field(default_factory=Random)
    _well: list[Seen] = field(default_factory=list[Seen])

    async def round(self) -> None:
        """Probe every running Engine once."""
        engines = await self.resources.database.read(_running)
        self.chance.shuffle(engines)
        pause = self.spread / max(1, len(engines))
        limit = trio.Semaphore(_AT_ONCE)
        async with trio.open_nursery() as nursery:
            for engine in engines:
                await limit.acquire()
                nursery.start_soon(self._probe, engine, limit)
                await trio.sleep(pause)
        await self._write()
        if engines:
            entry = audit.about(engines[0], "health_check", {"probed": len(engines)})
            await self.resources.database.write(partial(audit.record, entry=entry))

    async def _probe(self, engine: Engine, limit: trio.Semaphore) -> None:
        """One probe; a good one is written later with others, a bad one at once."""
        try:
            reason = await self._ask(engine)
        finally:
            limit.release()
        if reason is not None:
            await self._not_well(engine, reason)
        elif len(self._well) >= _WRITE_EVERY:
            await self._write()

    async def _ask(self, engine: Engine) -> str | None:
        """Why the Engine is not well; None if it is."""
        within = self.resources.config.orch_health_check_timeout_s
        client: EngineClient = self.resources.client
        try:
            with trio.fail_after(within):
                health = await client.health(engine.url or "", within)
        except (Unreachable, trio.TooSlowError) as error:
            return f"no answer: {error}"
        if not health.ok:
            return f"status {health.status}"
        self._well.append(Seen(engine, health.activity or Activity()))
        return None

    async def _not_well(self, engine: Engine, reason: str) -> None:
        note = partial(registry.note_unhealthy, probed=engine)
        failures = await self.resources.database.write(note)
        _log.info("bad probe", engine=str(engine.id), reason=reason, failures=failures)
        if failures >= self.resources.config.orch_health_max_failures:
            seen = replace(engine, health_failures=failures)
            (await self.roster.of(engine.id)).cast(NotWell(seen, reason))

    async def _write(self) -> None:
        well, self._well = self._well, []
        if not well:
            return
        rows = [(one.engine.id, one.engine.generation, one.activity.next_wake_at) for one in well]
        forgive_after = self.resources.config.orch_restart_backoff_max_s
        note = partial(registry.note_healthy, healthy=rows, settled_after=forgive_after)
        await self.resources.database.write(note)
        await self.observer(well)


async def _running(session: Session) -> list[Engine]:
    rows = await registry.engines(session, status=Status.RUNNING)
    return [row for row in rows if row.operation is None]
