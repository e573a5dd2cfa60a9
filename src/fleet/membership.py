"""This orchestrator among others on one database: its number, and whether it leads.

Both are advisory locks on a connection of its own, so PostgreSQL takes them away in the moment
in which the process dies, however it dies. The leader probes, wakes and repairs; every
orchestrator answers requests. What keeps two of them apart is not this but the generation of
each row (see `registry`).
"""

from typing import Final, TypeAlias, assert_never, cast

import trio

from ..actors import Actor, Message, Reply
from ..logs import get_logger
from .registry import ALIVE_LOCK
from .store.database import Database, DatabaseUnavailable, Dedicated, Session

_log = get_logger("september.fleet.membership")

_LEADER_LOCK: Final = 0x5E97_1EAD
HEARTBEAT_S: Final = 2.0
"""How often the connection is asked, and how soon a leader that is gone is replaced."""

_ANSWER_S: Final = 10.0
_RETRY_S: Final = 0.5
_PATIENCE_S: Final = 5.0


class Standing:
    """What this orchestrator is just now. Shared by all who act in its name."""

    def __init__(self) -> None:
        self.leads = False
        self._number: int | None = None
        self._seated = trio.Event()

    async def number(self) -> int:
        """Its number. Raises DatabaseUnavailable when it has had none for a few seconds."""
        with trio.move_on_after(_PATIENCE_S):
            while self._number is None:
                await self._seated.wait()
        if self._number is None:
            raise DatabaseUnavailable(ConnectionError("the orchestrator has no seat"))
        return self._number

    def sit(self, number: int) -> None:
        """Take part."""
        self._number = number
        self._seated.set()

    def leave(self) -> None:
        """Take no part, and lead nobody."""
        self.leads = False
        self._number = None
        if self._seated.is_set():
            self._seated = trio.Event()


class Ping(Message[None]):
    """Answered while the actor lives."""

    __slots__ = ()


MembershipMessage: TypeAlias = Ping


class Membership(Actor[MembershipMessage]):
    """Keeps the seat; takes a new one when the connection breaks."""

    def __init__(
        self, database: Database, standing: Standing, heartbeat: float = HEARTBEAT_S
    ) -> None:
        self._database = database
        self._standing = standing
        self._heartbeat = heartbeat

    async def started(self) -> None:
        self.beside(self._keep)

    async def stopping(self) -> None:
        self._standing.leave()

    async def handle(self, msg: MembershipMessage) -> Reply:
        match msg:
            case Ping():
                return msg.done()
            case _:
                assert_never(msg)

    async def _keep(self) -> None:
        while True:
            try:
                await self._sit()
            except DatabaseUnavailable as error:
                _log.warning("seat lost", why=error.message)
            finally:
                self._standing.leave()
            await trio.sleep(_RETRY_S)

    async def _sit(self) -> None:
        """Sit until the connection is lost."""
        lost = trio.Event()
        async with self._database.dedicated(lost.set) as connection:
            self._standing.sit(await connection.run(_take_number))
            while not lost.is_set():
                self._standing.leads = await _ask_for_lead(connection)
                with trio.move_on_after(self._heartbeat):
                    await lost.wait()


async def _ask_for_lead(connection: Dedicated) -> bool:
    with trio.move_on_after(_ANSWER_S):
        return await connection.run(_lead)
    raise DatabaseUnavailable(TimeoutError("no answer to a heartbeat"))


async def _take_number(session: Session) -> int:
    number = cast("int", await session.value("SELECT nextval('orchestrator_numbers')::integer"))
    await session.execute("SELECT pg_advisory_lock($1::integer, $2::integer)", ALIVE_LOCK, number)
    return number


async def _lead(session: Session) -> bool:
    """Whether this session holds the lead; it takes it if nobody does."""
    held = (
        "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1"
        " AND classid = 0 AND objid = $1 AND pid = pg_backend_pid() AND granted)"
        " OR pg_try_advisory_lock($1::bigint)"
    )
    return cast("bool", await session.value(held, _LEADER_LOCK))
