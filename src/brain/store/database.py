"""The brain's face to the rest of the Engine: whole transactions as one function."""

from collections.abc import Callable
from typing import TypeVar

import apsw

from ...actors import ActorRef
from .writer import Read, StoreMessage, Write

T = TypeVar("T")


class Database:
    """Reads and writes through the store actor; safe to cancel at any point.

    `work` runs in a database thread: it gets the connection, must not keep it, and must not
    touch actor state. A write is one transaction (savepoint), committed before `write` returns;
    a cancelled write may or may not have committed, never half.
    """

    def __init__(self, store: ActorRef[StoreMessage]) -> None:
        self._store = store

    async def read(self, work: Callable[[apsw.Connection], T]) -> T:
        """Run `work` on a reader: a snapshot, never blocked by the writer."""
        return await self._store.call(Read(work))

    async def write(self, work: Callable[[apsw.Connection], T]) -> T:
        """Run `work` in a transaction on the writer; an exception rolls it back and is raised."""
        return await self._store.call(Write(work))
