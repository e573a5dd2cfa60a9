"""PostgreSQL for the fleet: whole units of work, each in one hop to asyncpg's event loop.

The one file that knows the driver. trio-asyncio's loop must be open around the actor tree
(`event_loop`), because tasks inherit it.
"""

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Final, TypeAlias, TypeVar

import asyncpg
import trio
from trio_asyncio import aio_as_trio, open_loop

from ...errors import SeptemberError

T = TypeVar("T")

Row: TypeAlias = Mapping[str, object]
"""One row: column to value."""

_CONNECT_S: Final = 10.0
_WORK_S: Final = 60.0
"""Longest that a unit of work may take, waiting for a connection included.

One deadline of trio's around the hop costs nothing. The driver's own, for each command and for
each idle connection, are timers that stay in its event loop's queue until they would have run
out: a fifth of the time of a short query, and all of its memory for minutes.
"""

_CLOSE_S: Final = 5.0

_LOST: Final = (
    OSError,
    ssl.SSLError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
)
"""What asyncpg raises when there is no server, or no longer one, behind a connection."""


class DatabaseUnavailable(SeptemberError):
    """PostgreSQL cannot be reached, or the connection was lost on the way.

    A write that raises it may have been committed: what follows must look.
    """

    def __init__(self, why: BaseException) -> None:
        super().__init__(
            "DATABASE_UNAVAILABLE",
            f"PostgreSQL does not answer ({type(why).__name__}: {why}); try again",
            retry_after=1.0,
        )


class UniqueViolation(Exception):
    """A row like this exists already; `constraint` says which rule it breaks."""

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.constraint = constraint


_Connection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)


class Session:
    """One connection in the hands of one unit of work."""

    __slots__ = ("_connection",)

    def __init__(self, connection: "_Connection") -> None:
        self._connection = connection

    async def rows(self, sql: str, *args: object) -> list[Row]:
        """Every row of the answer."""
        return [dict(row) for row in await self._connection.fetch(sql, *args)]

    async def row(self, sql: str, *args: object) -> Row | None:
        """The first row of the answer."""
        row = await self._connection.fetchrow(sql, *args)
        return None if row is None else dict(row)

    async def value(self, sql: str, *args: object) -> object:
        """The first column of the first row."""
        value: object = await self._connection.fetchval(sql, *args)
        return value

    async def execute(self, sql: str, *args: object) -> int:
        """Run one statement and return how many rows it touched."""
        tag = await self._connection.execute(sql, *args)
        count = tag.rpartition(" ")[2]
        return int(count) if count.isdecimal() else 0

    async def script(self, sql: str) -> None:
        """Run several statements."""
        await self._connection.execute(sql)

    def transaction(self) -> AbstractAsyncContextManager[object]:
        """A transaction: committed at the end of the block, rolled back if that raises."""
        return self._connection.transaction()


Work: TypeAlias = Callable[[Session], Awaitable[T]]
"""A unit of work. It runs in asyncpg's event loop, so it awaits its session and nothing else."""


def event_loop() -> AbstractAsyncContextManager[object]:
    """The loop that the driver needs: to be open around everything else, once."""
    return open_loop()


class Database:
    """A pool of connections. Lost ones are replaced; `url` never appears in an error.

    Safe to cancel at any point: the query is cancelled on the server, too.
    """

    def __init__(self, url: str, *, pool_min: int = 2, pool_max: int = 10) -> None:
        self._url = url
        self._pool_min = pool_min
        self._pool_max = pool_max
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def open(self) -> None:
        """Connect. Raises DatabaseUnavailable, or SeptemberError for a refused login."""
        if self._pool is None:
            self._pool = await hop(self._connect)

    async def close(self) -> None:
        """Close every connection, politely for a few seconds and then not."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        with trio.move_on_after(_CLOSE_S) as limit:
            await hop(pool.close)
        if limit.cancelled_caught:
            pool.terminate()

    async def read(self, work: Work[T]) -> T:
        """Run `work` outside a transaction: for one statement that only reads."""
        return await _in_time(partial(self._read, work))

    async def write(self, work: Work[T]) -> T:
        """Run `work` in a transaction, committed when this returns."""
        return await _in_time(partial(self._write, work))

    @asynccontextmanager
    async def dedicated(self, on_lost: Callable[[], None]) -> AsyncGenerator["Dedicated"]:
        """A connection of one's own while the body runs; `on_lost` hears that it broke."""
        connection = await hop(partial(asyncpg.connect, self._url, timeout=_CONNECT_S))
        connection.add_termination_listener(lambda _: on_lost())
        try:
            yield Dedicated(connection)
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(_CLOSE_S):
                await hop(partial(connection.close, timeout=1))

    async def _connect(self) -> "asyncpg.Pool[asyncpg.Record]":
        pool: asyncpg.Pool[asyncpg.Record] = asyncpg.create_pool(
            self._url,
            min_size=self._pool_min,
            max_size=self._pool_max,
            timeout=_CONNECT_S,
            max_inactive_connection_lifetime=0,
            reset=_as_it_is,
        )
        return await pool

    async def _read(self, work: Work[T]) -> T:
        async with self._opened().acquire() as connection:
            return await work(Session(connection))

    async def _write(self, work: Work[T]) -> T:
        async with self._opened().acquire() as connection, connection.transaction():
            return await work(Session(connection))

    def _opened(self) -> "asyncpg.Pool[asyncpg.Record]":
        if self._pool is None:
            raise DatabaseUnavailable(ConnectionError("the orchestrator has no connection yet"))
        return self._pool


class Dedicated:
    """One connection, for what lives as long as it: advisory locks."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._session = Session(connection)

    async def run(self, work: Work[T]) -> T:
        """Run `work`, outside a transaction unless it begins one."""
        return await hop(partial(work, self._session))


async def _as_it_is(_: object) -> None:
    """Spare each unit of work the query that resets its connection.

    Nothing is to be reset: what a unit sets ends with its transaction, advisory locks included.
    """


async def _in_time(work: Callable[[], Awaitable[T]]) -> T:
    with trio.move_on_after(_WORK_S):
        return await hop(work)
    raise DatabaseUnavailable(TimeoutError(f"no answer within {_WORK_S:g} s"))


async def hop(work: Callable[[], Awaitable[T]]) -> T:
    """Do the work in asyncpg's loop; what goes wrong comes out in our own words."""
    try:
        return await aio_as_trio(work)()
    except asyncpg.UniqueViolationError as error:
        raise UniqueViolation(error.constraint_name or "") from error
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError) as error:
        raise _refused(error) from error
    except asyncpg.InvalidCatalogNameError as error:
        raise _refused(error) from error
    except _LOST as error:
        raise DatabaseUnavailable(error) from error


def _refused(error: Exception) -> SeptemberError:
    return SeptemberError(
        "INVALID_CONFIG", f"ORCH_DATABASE_URL: PostgreSQL refuses it: {error}; set the right one"
    )
