"""The actor that writes what was observed to a store, and keeps it within its bounds.

The Engine's is called Raven and writes to the brain; the orchestrator's writes to PostgreSQL.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias, assert_never

import trio

from ..actors import Actor, ActorError, Later, Message, Reply, Traced, span_scope
from ..errors import SeptemberError
from ..logs import get_logger
from .recorder import SILENT, Recorder
from .row import Losses, TraceRow

_log = get_logger("september.traces")

GATHERING_S: Final = 0.25
"""How long observations gather before they are written together."""

BATCH: Final = 1_000
"""Observations in one batch: with GATHERING_S at most some 4,000 a second are recorded.

A small message takes about 5 µs to render and 14 to write to a brain (docs/performance.md), so
that recording takes 8 % of a core; a large one takes up to 40 µs to render.
"""

ATTEMPTS: Final = 20
RETRY_S: Final = 1.0
TEND_EVERY_S: Final = 30.0
GOODBYE_S: Final = 4.0
"""How long the stop of a process waits for its last observations; less than a `shutdown`."""


class TraceStore(Protocol):
    """Where rows are kept. Methods raise SeptemberError or ActorError when it cannot be used."""

    async def begin(self, began_at: int) -> None:
        """Note that a process has begun to record here, at `began_at` (µs since the epoch)."""
        ...

    async def mend(self) -> None:
        """Complete the traces of processes that have died in the meantime."""
        ...

    async def keep(self, batch: Sequence[TraceRow]) -> None:
        """Store a batch and bring the summaries of its traces up to date, as a whole.

        A batch that is stored already is left as it is: for all we know a write that was
        cancelled, or whose answer was lost, took place.
        """
        ...

    async def size(self) -> int:
        """About how many bytes all rows take."""
        ...

    async def prune(self, before: int, excess: int) -> int:
        """Remove some of the oldest rows: from before `before` (µs), until `excess` bytes are gone.

        Returns how many bytes were freed, 0 when nothing was to do.
        """
        ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """What traces may take: `age_s` seconds, `size` bytes."""

    age_s: float = 604_800
    size: int = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Record(Message[None]):
    """Write what is observed from now on; the keeper tells itself, once in each of its lives."""


@dataclass(frozen=True, slots=True)
class Flush(Message[Losses]):
    """Write all that was observed before this; answers what could not be kept so far."""


KeeperMessage: TypeAlias = Record | Flush


class TraceKeeper(Actor[KeeperMessage]):
    """Takes observations from the recorder and keeps them. Never in anybody's way.

    A store that cannot be written is tried again for ATTEMPTS * RETRY_S seconds, while the
    recorder fills up and counts; nothing of this reaches whoever is observed.
    """

    def __init__(self, recorder: Recorder | None, store: TraceStore, bounds: Bounds) -> None:
        self._writer = TraceWriter(recorder, store, bounds) if recorder is not None else None

    async def started(self) -> None:
        self.ref.cast(Record())

    async def handle(self, msg: KeeperMessage) -> Reply | Later:
        match msg:
            case Record():
                return msg.reply_after(self._record)
            case Flush():
                return msg.reply_after(self._flush)
            case _:
                assert_never(msg)

    async def stopping(self) -> None:
        """Write what the stop of all others left; the store stops after us."""
        with trio.move_on_after(GOODBYE_S) as limit:
            await self._flush()
        if limit.cancelled_caught and self._writer is not None:
            self._writer.give_up()

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

    def __init__(self, recorder: Recorder, store: TraceStore, bounds: Bounds) -> None:
        self._recorder = recorder
        self._store = store
        self._bounds = bounds
        self._size: int | None = None
        self._tended_at = -TEND_EVERY_S
        self._writing = trio.Lock()
        # What is on its way stays here until it is written, for any step may be cancelled.
        self._taken: list[Traced] = []
        self._unwritten: list[TraceRow] = []

    async def run(self) -> None:
        """Write for ever."""
        await self._begin()
        while True:
            await self._recorder.wait()
            await trio.sleep(GATHERING_S)
            async with self._writing:
                await self._write_batch()
                await self._tend_if_due()

    async def flush(self) -> Losses:
        """Write all that waits now."""
        async with self._writing:
            begun = bool(self._unwritten) + bool(self._taken)
            for _ in range(begun + 1 + self._recorder.backlog // BATCH):
                await self._write_batch()
        return self._recorder.losses

    def give_up(self) -> None:
        """Count what is on its way as lost, and say so."""
        lost = len(self._unwritten) + len(self._taken) + self._recorder.backlog
        _log.warning("the last observations are lost: they were not written in time", count=lost)
        self._recorder.gave_up(lost)

    async def _write_batch(self) -> None:
        """Take the next step: write what was rendered, or else render and write what waits."""
        try:
            if not self._unwritten:
                self._taken = self._taken or self._recorder.take(BATCH)
                if self._taken:
                    self._unwritten = await trio.to_thread.run_sync(
                        self._recorder.rows, self._taken
                    )
                    self._taken = []
            if self._unwritten:
                await self._write(self._unwritten)
                self._unwritten = []
        except Exception:  # the crash is ours, and so is the loss
            self._recorder.gave_up(len(self._taken) + len(self._unwritten))
            self._taken, self._unwritten = [], []
            raise

    async def _write(self, batch: list[TraceRow]) -> None:
        for attempt in range(ATTEMPTS):
            try:
                await self._store.keep(batch)
            except (SeptemberError, ActorError) as error:
                if attempt == 0:
                    _log.warning("traces wait: they cannot be written", reason=str(error))
                await trio.sleep(RETRY_S)
            else:
                if self._size is not None:
                    self._size += sum(row.size for row in batch)
                return
        self._recorder.gave_up(len(batch))

    async def _begin(self) -> None:
        try:
            await self._store.begin(self._recorder.began_at)
        except (SeptemberError, ActorError) as error:
            _log.warning("this boot is not noted", reason=str(error))

    async def _tend_if_due(self) -> None:
        over = self._size is not None and self._size > self._bounds.size
        if not over and trio.current_time() < self._tended_at + TEND_EVERY_S:
            return
        self._tended_at = trio.current_time()
        try:
            await self._store.mend()
            await self._prune()
        except (SeptemberError, ActorError) as error:
            _log.warning("traces are not tended: old ones are kept", reason=str(error))

    async def _prune(self) -> None:
        self._size = await self._store.size()
        cutoff = int((time.time() - self._bounds.age_s) * 1e6)
        while True:
            excess = max(0, self._size - self._bounds.size)
            freed = await self._store.prune(cutoff, excess)
            self._size -= freed
            if not freed:
                return
