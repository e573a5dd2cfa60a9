"""Reconciliation: rows against reality, in both directions (contract, section 20.14).

Reality is asked first and rows are read after it: an instance without a row has then truly none.
A backend that does not answer ends the round; it is never read as "gone".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import UUID

import trio

from ..logs import get_logger
from . import registry
from .backends.backend import BackendError, Died, Instance, Presence
from .instances import Engine, Status
from .lifecycle import Lifecycle
from .managed import NotWell, Repair
from .resources import Resources
from .roster import Roster

_log = get_logger("september.fleet.reconcile")

_WATCH_AGAIN_S: Final = 1.0
_DOWN: Final = frozenset({Status.SLEEPING, Status.STOPPED})


@dataclass(frozen=True, slots=True)
class Reconcile:
    """Makes rounds, and between them hears of instances that end by themselves."""

    resources: Resources
    lifecycle: Lifecycle
    roster: Roster

    async def round(self) -> None:
        """Compare, and repair what differs."""
        instances = {one.engine_id: one for one in await self.resources.backend.list()}
        rows = {row.id: row for row in await self.resources.database.read(registry.engines)}
        await self.roster.keep(set(rows))
        for engine_id in instances.keys() - rows.keys():
            _log.warning("instance without a row", engine=str(engine_id))
            await self.lifecycle.remove_orphan(engine_id)
        number = await self.resources.standing.number()
        unfinished = await self.resources.database.read(partial(registry.unfinished, number=number))
        wrong = {*unfinished, *_differing(rows, instances)}
        if wrong:
            _log.info("repairing", engines=len(wrong))
        await self.roster.tell_all((engine_id, Repair()) for engine_id in wrong)

    async def keep_watching(self) -> None:
        """Tell the actors of instances that died."""
        while True:
            try:
                async for died in self.resources.backend.watch():
                    await self._on_death(died)
            except BackendError as error:
                _log.warning("watch broken", why=str(error))
            await trio.sleep(_WATCH_AGAIN_S)

    async def _on_death(self, died: Died) -> None:
        row = await self.lifecycle.ledger.row(died.engine_id)
        if row is not None and row.status is Status.RUNNING and row.operation is None:
            (await self.roster.of(row.id)).cast(NotWell(row, died.reason))


def _differing(rows: Mapping[UUID, Engine], instances: Mapping[UUID, Instance]) -> Iterator[UUID]:
    """Rows with nothing under way whose instance is not as they say."""
    for row in rows.values():
        there = instances.get(row.id)
        up = there is not None and there.presence is Presence.RUNNING
        if row.operation is None and ((row.should_run and not up) or (row.status in _DOWN and up)):
            yield row.id
