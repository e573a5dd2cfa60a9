"""The brain's face to the rest of the Engine: whole transactions as one function."""

from collections.abc import Callable
from typing import TypeVar

from outcome import Outcome

from ...actors import ActorCrashed, ActorRef
from ...actors.message import Asks
from ...errors import SeptemberError
from .connection import Connection
from .store import Read, StoreMessage, Write

T = TypeVar("T")


class Database:
    """Reads and writes through the store actor; safe to cancel at any point.

    `work` runs in a database thread: it gets the connection, must not keep it, and must not
    touch actor state. A write is one transaction, committed before `write` returns; a cancelled
    write may or may not have committed, never half. Where a group of writes has to be done
    again, a work runs twice, so its only effect must be on the connection.

    Besides what `work` itself raises: SeptemberError BRAIN_FULL, BRAIN_BUSY or BRAIN_UNUSABLE,
    and ActorStopped once the store is gone.
    """

    def __init__(self, store: ActorRef[StoreMessage]) -> None:
        self._store = store

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on a reader: a snapshot, never blocked by the writer."""
        return await self._ask(Read(work))

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction on the writer; an exception rolls it back and is raised."""
        return await self._ask(Write(work))

    async def _ask(self, message: Asks[StoreMessage, Outcome[T]]) -> T:
        try:
            answer = await self._store.call(message)
        except ActorCrashed as crash:
            cause = crash.cause
            if isinstance(cause, SeptemberError):
                raise SeptemberError(cause.code, cause.message, cause.details) from crash
            raise
        return answer.unwrap()
