"""Retention: the actor that removes what has had its time, and gives its space back.

It works in bites. After each it leaves the writer alone for several times as long as the bite
took, so that no turn waits for more than one bite, and the writer is free most of the time.
"""

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias, TypeVar, assert_never

import trio
from msgspec import Struct, field
from msgspec.structs import replace

from ...actors import Actor, ActorError, Later, Message, Reply
from ...errors import SeptemberError
from ...logs import get_logger
from ..clock import now_ms
from ..store.connection import Connection
from ..store.database import Database
from . import sweeps
from .sweeps import SWEEPS, Lifetimes, Sweep

_log = get_logger("september.retention")

T = TypeVar("T")

EVERY_S: Final = 60.0
"""Time between two rounds, in seconds."""

REST: Final = 4.0
"""After each bite the writer is left alone for so many times as long as the bite took."""

SPARE_PAGES: Final = 1024
"""Free pages that stay in the file (4 MiB): the next writes take them without growing it."""

FIRST_PAGES: Final = 32
MOST_PAGES: Final = 512
"""Pages that one bite gives back, at first and at most."""

SHORT_S: Final = 0.002
LONG_S: Final = 0.006
"""A bite shorter than this may be larger the next time, a longer one is halved."""


class Swept(Struct, frozen=True):
    """What was done so far: rows removed by kind, pages given back, and the longest bite (s)."""

    rows: Counter[str] = field(default_factory=Counter[str])
    pages: int = 0
    longest_s: float = 0.0
    rounds: int = 0


class Keep(Message[None], Struct, frozen=True):
    """Sweep for ever; told by the actor to itself, once in each of its lives."""


class GetSwept(Message[Swept], Struct, frozen=True):
    """What was done so far."""


RetentionMessage: TypeAlias = Keep | GetSwept


class Retention(Actor[RetentionMessage]):
    """Removes what is older than its lifetime."""

    replayable = True

    def __init__(
        self,
        database: Database,
        lifetimes: Lifetimes,
        now: Callable[[], int] = now_ms,
        every_s: float = EVERY_S,
    ) -> None:
        self._sweeper = Sweeper(database, lifetimes, now)
        self._every_s = every_s

    async def started(self) -> None:
        self.ref.cast(Keep())

    async def handle(self, msg: RetentionMessage) -> Reply | Later:
        match msg:
            case Keep():
                return msg.reply_after(partial(_for_ever, self._sweeper, self._every_s))
            case GetSwept():
                return msg.reply(self._sweeper.swept)
            case _:
                assert_never(msg)


async def _for_ever(sweeper: "Sweeper", every_s: float) -> None:
    while True:
        try:
            await sweeper.round()
        except (SeptemberError, ActorError) as error:
            _log.warning("nothing is removed: the brain cannot be written", reason=str(error))
        await trio.sleep(every_s)


class Sweeper:
    """The work of retention; `swept` is what it did."""

    def __init__(
        self, database: Database, lifetimes: Lifetimes, now: Callable[[], int] = now_ms
    ) -> None:
        self._database = database
        self._lifetimes = lifetimes
        self._now = now
        self._pages = FIRST_PAGES
        self.swept = Swept()

    async def round(self) -> None:
        """Remove all that is due, then give back the space."""
        for sweep in SWEEPS:
            while await self._bite(sweep):
                pass
        while await self._give_back():
            pass
        self.swept = replace(self.swept, rounds=self.swept.rounds + 1)

    async def _bite(self, sweep: Sweep) -> bool:
        """Remove a few rows; whether there may be more."""
        now = self._now()
        rows = await self._database.read(
            partial(sweeps.due, sweep=sweep, now=now, of=self._lifetimes)
        )
        if not rows:
            return False
        removed = await self._timed(partial(sweeps.remove, sweep=sweep, rows=rows))
        self.swept = replace(self.swept, rows=self.swept.rows + Counter({sweep.name: removed}))
        return len(rows) == sweeps.BITE

    async def _give_back(self) -> bool:
        """Give a few pages back; whether there are more to give."""
        free = await self._database.read(sweeps.free_pages)
        pages = min(self._pages, free - SPARE_PAGES)
        if pages <= 0:
            return False
        await self._timed(partial(sweeps.give_back, pages=pages))
        left = await self._database.read(sweeps.free_pages)
        self.swept = replace(self.swept, pages=self.swept.pages + max(0, free - left))
        return left < free  # a brain that was made without auto_vacuum gives nothing back

    async def _timed(self, work: Callable[[Connection], T]) -> T:
        """Run a bite, note how long it held the writer, and leave the writer alone for a while."""

        def bite(connection: Connection) -> tuple[T, float]:
            began = time.perf_counter()
            value = work(connection)
            return value, time.perf_counter() - began

        value, took = await self._database.write(bite)
        self.swept = replace(self.swept, longest_s=max(self.swept.longest_s, took))
        self._adapt(took)
        await trio.sleep(REST * took)
        return value

    def _adapt(self, took: float) -> None:
        if took > LONG_S:
            self._pages = max(1, self._pages // 2)
        elif took < SHORT_S:
            self._pages = min(MOST_PAGES, self._pages * 2)
