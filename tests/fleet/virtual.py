"""A day in seconds: virtual time that stands still while PostgreSQL or a thread is at work.

trio's MockClock jumps when every task waits, and whoever waits for a query waits, too. So it is
let jump only while nothing is under way outside of trio. PostgreSQL tells the same time: `now()`
of a database with this clock reads it from a file, which is written before each unit of work.
"""

import math
import tempfile
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
import trio
from trio.testing import MockClock

from september.fleet.store import database
from september.fleet.store.database import Database, Session

T = TypeVar("T")

BEGINNING: Final = datetime(2030, 1, 1, tzinfo=UTC)
"""When virtual time is 0."""

_CLOCK: Final = """
CREATE FUNCTION public.{name}() RETURNS timestamptz LANGUAGE sql STABLE AS
$$ SELECT pg_catalog.to_timestamp(pg_catalog.pg_read_file('{file}')::double precision) $$
"""


class VirtualTime:
    """Lets the MockClock of this run jump, and tells PostgreSQL how late it is."""

    def __init__(self, file: Path) -> None:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, MockClock)
        self._clock = clock
        self._file = file
        self._told = -1.0
        self._under_way = 0
        self.tell()

    @contextmanager
    def outside(self) -> Generator[None]:
        """Hold the clock while something is under way that trio does not know of."""
        self._under_way += 1
        self._clock.autojump_threshold = math.inf
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._clock.autojump_threshold = 0

    def tell(self) -> None:
        """Write down how late it is, for PostgreSQL."""
        if self._told != (now := trio.current_time()):
            self._told = now
            self._file.write_text(f"{(BEGINNING + timedelta(seconds=now)).timestamp():.6f}")

    async def rule(self, url: str) -> None:
        """Put an empty database on this clock: its `now()` goes before the built-in one."""

        async def work(session: Session) -> None:
            for name in ("now", "clock_timestamp"):
                await session.execute(_CLOCK.format(name=name, file=self._file))
            own = await session.value("SELECT current_database()")
            await session.execute(f"ALTER DATABASE {own} SET search_path = public, pg_catalog")

        made = Database(url, pool_min=1, pool_max=1)
        await made.open()
        await made.read(work)
        await made.close()


@contextmanager
def virtual_time() -> Generator[VirtualTime]:
    """Have virtual time for PostgreSQL and threads as well, in a run with a MockClock."""
    with tempfile.TemporaryDirectory(prefix="clock-") as folder:
        Path(folder).chmod(0o755)  # the server is another user
        time = VirtualTime(Path(folder) / "now")
        hop, run_sync = database.hop, trio.to_thread.run_sync

        async def held_hop(work: Callable[[], Awaitable[T]]) -> T:
            time.tell()
            with time.outside():
                return await hop(work)

        async def held_thread(work: Callable[..., T], *args: Any, **options: Any) -> T:
            with time.outside():
                return await run_sync(partial(work, *args), **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(database, "hop", held_hop)
            patch.setattr(trio.to_thread, "run_sync", held_thread)
            yield time
