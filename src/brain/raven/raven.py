"""Raven: the actor that writes what was observed to the brain, and keeps it within its bounds."""

from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias, assert_never

import structlog
import trio

from ...actors import Actor, ActorError, Later, Message, Reply, span_scope
from ...errors import SeptemberError
from ...traces.recorder import SILENT, Recorder
from ...traces.row import Losses, TraceRow
from ..clock import now_ms
from ..store.connection import Connection
from ..store.database import Database
from . import happenings, rows

_log = structlog.get_logger("september.raven")

GATHERING_S: Final = 0.25
"""How long observations gather before they are written together."""

BATCH: Final = 1_000
"""Observations in one batch: with GATHERING_S at most some 4,000 a second are recorded.

Rendering takes about 20 µs each, so recording never takes more than a tenth of a core.
"""

ATTEMPTS: Final = 20
RETRY_S: Final = 1.0
PRUNE_EVERY_S: Final = 30.0
GOODBYE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """What traces may take: `age_s` seconds, `size` bytes. `slow_tool_s` is worth an event."""

    age_s: float = 604_800
    size: int = 256 * 2**20
    slow_tool_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Record(Message[None]):
    """Write what is observed from now on; Raven tells itself, once in each of its lives."""


@dataclass(frozen=True, slots=True)
class Flush(Message[Losses]):
    """Write all that was observed before this; answers what could not be kept so far."""


RavenMessage: TypeAlias = Record | Flush


class Raven(Actor[RavenMessage]):
    """Takes observations from the recorder and keeps them. Never in anybody's way.

    A brain that cannot be written is tried again for ATTEMPTS * RETRY_S seconds, while the
    recorder fills up and counts; nothing of this reaches whoever is observed.
    """

    def __init__(self, recorder: Recorder | None, database: Database, bounds: Bounds) -> None:
        self._recorder = recorder
        self._writer = TraceWriter(recorder, database, bounds) if recorder is not None else None

    async def started(self) -> None:
        self.ref.cast(Record())

    async def handle(self, msg: RavenMessage) -> Reply | Later:
        match msg:
            case Record():
                return msg.reply_after(self._record)
            case Flush():
                return msg.reply_after(self._flush)
            case _:
                assert_never(msg)

    async def stopping(self) -> None:
        """Write what the stop of all others left; the store stops after us."""
        with trio.move_on_after(GOODBYE_S):
            await self._flush()

    async def _record(self) -> None:
        if self._writer is not None:
            with span_scope(SILENT):
                await self._writer.run()

    async def _flush(self) -> Losses:
        if self._writer is None:
            return Losses()
        with span_scope(SILENT):
            return await self._writer.flush()


class TraceWriter:
    """Writes batch after batch, and removes what is beyond the bounds."""

    def __init__(self, recorder: Recorder, database: Database, bounds: Bounds) -> None:
        self._recorder = recorder
        self._database = database
        self._bounds = bounds
        self._size: int | None = None
        self._pruned_at = -PRUNE_EVERY_S
        self._writing = trio.Lock()
        self._unwritten: list[TraceRow] = []
        """A batch that is not committed for all we know: a cancelled write may be."""

    async def run(self) -> None:
        """Write for ever."""
        await self._note_boot()
        while True:
            await self._recorder.wait()
            await trio.sleep(GATHERING_S)
            async with self._writing:
                await self._write_batch()
                await self._prune_if_due()

    async def flush(self) -> Losses:
        """Write all that waits now."""
        async with self._writing:
            for _ in range(1 + self._recorder.backlog // BATCH):
                await self._write_batch()
        return self._recorder.losses

    async def _write_batch(self) -> None:
        if not self._unwritten:
            taken = self._recorder.take(BATCH)
            if taken:
                self._unwritten = await trio.to_thread.run_sync(self._recorder.rows, taken)
        if self._unwritten:
            await self._write(self._unwritten)
            self._unwritten = []

    async def _write(self, batch: list[TraceRow]) -> None:
        work = partial(_keep, batch=batch, slow_us=int(self._bounds.slow_tool_s * 1e6))
        for attempt in range(ATTEMPTS):
            try:
                await self._database.write(work)
            except (SeptemberError, ActorError) as error:
                if attempt == 0:
                    _log.warning("traces wait: the brain cannot be written", reason=str(error))
                await trio.sleep(RETRY_S)
            else:
                if self._size is not None:
                    self._size += sum(row.size for row in batch)
                return
        self._recorder.gave_up(len(batch))

    async def _note_boot(self) -> None:
        try:
            await self._database.write(happenings.note_migrations)
        except (SeptemberError, ActorError) as error:
            _log.warning("the migrations of this boot are not noted", reason=str(error))

    async def _prune_if_due(self) -> None:
        over = self._size is not None and self._size > self._bounds.size
        if not over and trio.current_time() < self._pruned_at + PRUNE_EVERY_S:
            return
        self._pruned_at = trio.current_time()
        try:
            await self._prune()
        except (SeptemberError, ActorError) as error:
            _log.warning("old traces are kept: the brain cannot be written", reason=str(error))

    async def _prune(self) -> None:
        if self._size is None:
            self._size = await self._database.read(rows.stored_size)
        cutoff_us = int(now_ms() * 1000 - self._bounds.age_s * 1e6)
        await self._database.write(partial(happenings.prune, before_ms=cutoff_us // 1000))
        while True:
            excess = max(0, self._size - self._bounds.size)
            work = partial(rows.prune, before=cutoff_us, excess=excess)
            freed = await self._database.write(work)
            self._size -= freed
            if not freed:
                return


def _keep(connection: Connection, batch: list[TraceRow], slow_us: int) -> None:
    rows.keep(connection, batch)
    happenings.keep(connection, batch, slow_us)
