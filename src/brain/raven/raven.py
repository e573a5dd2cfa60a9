"""Raven: traces in the brain, as the keeper writes them and as readers find them."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from ...traces.causes import Why
from ...traces.row import TraceFilter, TraceRow, TraceSummary
from ..store.connection import Connection
from ..store.database import Database
from . import happenings, queries, rows, stumps

SLOW_TOOL_S: Final = 10.0
"""A tool call that takes this long is worth an event of its own."""


class BrainTraces:
    """Implements `TraceStore` and `TraceReader` on an Engine's brain."""

    def __init__(self, database: Database, slow_tool_s: float = SLOW_TOOL_S) -> None:
        self._database = database
        self._slow_us = int(slow_tool_s * 1e6)
        self._size: int | None = None

    async def begin(self, began_at: int) -> None:
        """Note the migrations of this boot, and what the process before could not finish."""
        await self._database.write(happenings.note_migrations)
        await self._database.write(partial(stumps.complete, before=began_at))

    async def mend(self) -> None:
        """Nobody else writes here: what there was to mend was mended at the beginning."""

    async def keep(self, batch: Sequence[TraceRow]) -> None:
        """Store a batch and the observability events that its rows are, unless it is stored."""
        await self._database.write(partial(_keep, batch=batch, slow_us=self._slow_us))
        if self._size is not None:
            self._size += sum(row.size for row in batch)

    async def size(self) -> int:
        """About how many bytes all rows take: counted once, for nobody else writes here."""
        if self._size is None:
            self._size = await self._database.read(rows.stored_size)
        return self._size

    async def prune(self, before: int, excess: int) -> int:
        """Remove the oldest rows and events."""
        freed = await self._database.write(partial(_prune, before=before, excess=excess))
        if self._size is not None:
            self._size -= freed
        return freed

    async def page(self, wanted: TraceFilter) -> Sequence[TraceSummary]:
        """The traces that fit, latest first."""
        return await self._database.read(partial(queries.page, wanted=wanted))

    async def trace(self, trace_id: str) -> Sequence[TraceRow]:
        """All rows of a trace."""
        return await self._database.read(partial(queries.trace, trace_id=trace_id))

    async def since(self, last: int) -> tuple[int, Sequence[TraceRow]]:
        """The rows stored after the row `last`."""
        return await self._database.read(partial(queries.since, last=last))

    async def why(self, target: str) -> Why:
        """Explain an event id, turn, task, trace, span or actor."""
        return await self._database.read(partial(queries.why, target=target))


def _keep(connection: Connection, batch: Sequence[TraceRow], slow_us: int) -> None:
    if rows.known(connection, batch[0]):
        return  # a write whose answer was lost is repeated
    rows.keep(connection, batch)
    happenings.keep(connection, batch, slow_us)


def _prune(connection: Connection, before: int, excess: int) -> int:
    happenings.prune(connection, before // 1000)
    return rows.prune(connection, before, excess)
