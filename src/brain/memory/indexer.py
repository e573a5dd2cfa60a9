"""The indexer: the actor that gives memories their vectors, in the background."""

from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias, assert_never

import trio
from msgspec import Struct

from ...actors import Actor, Later, Message, Reply
from ...errors import SeptemberError
from ...logs import get_logger
from ..herald.embeddings import Embeddings
from ..store.database import Database
from . import queue
from .queue import Progress

_log = get_logger("september.memory")

BATCH: Final = 256
"""Rows for each transaction; nobody's turn waits longer than for one."""

FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 60.0
"""After a failure of the embedder: twice as long each time."""


class Wake(Message[None], Struct, frozen=True):
    """Something was written."""


class Drained(Message[None], Struct, frozen=True):
    """The queue was empty when it was last looked at; told by the indexer to itself."""


class AwaitDrained(Message[Progress], Struct, frozen=True):
    """Answered when nothing waits any more; give up with a deadline of your own."""


class GetProgress(Message[Progress], Struct, frozen=True):
    """How far the vectors are."""


IndexerMessage: TypeAlias = Wake | Drained | AwaitDrained | GetProgress


class Indexer(Actor[IndexerMessage]):
    """Embeds what waits in the queue. What it did not finish, its next life finds there again."""

    def __init__(self, database: Database, embeddings: Embeddings) -> None:
        self._database = database
        self._embeddings = embeddings
        self._working = False
        self._woken = False
        self._drained = trio.Event()

    async def started(self) -> None:
        """Look for what an earlier process left."""
        self.ref.cast(Wake())

    async def handle(self, msg: IndexerMessage) -> Reply | Later:
        match msg:
            case Wake():
                self._wake()
                return msg.done()
            case Drained():
                self._rest()
                return msg.done()
            case AwaitDrained():
                self._wake()
                return msg.reply_after(partial(self._after, self._drained))
            case GetProgress():
                return msg.reply_after(self._progress)
            case _:
                assert_never(msg)

    def _wake(self) -> None:
        self._woken = True
        if not self._working:
            self._begin()

    def _begin(self) -> None:
        self._working, self._woken = True, False
        self._drained = trio.Event()
        self.beside(partial(self._drain, partial(self.ref.cast, Drained())))

    def _rest(self) -> None:
        if self._woken:
            self._woken = False
            self.beside(partial(self._drain, partial(self.ref.cast, Drained())))
        else:
            self._working = False
            self._drained.set()

    async def _after(self, drained: trio.Event) -> Progress:
        await drained.wait()
        return await self._progress()

    async def _progress(self) -> Progress:
        return await self._database.read(partial(queue.progress, space=self._embeddings.name))

    async def _drain(self, tell: Callable[[], None]) -> None:
        enter = partial(queue.enter_space, name=self._embeddings.name)
        space = await self._database.write(enter)
        wait = FIRST_WAIT_S
        while (
            batch := await self._database.read(partial(queue.next_batch, limit=BATCH))
        ) is not None:
            try:
                vectors = await self._embeddings.embed(tuple(batch.texts.values()))
            except SeptemberError as error:
                _log.warning("memories wait for the embedder", error=error.code, retry_s=wait)
                await trio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT_S)
                continue
            wait = FIRST_WAIT_S
            found = dict(zip(batch.texts, vectors, strict=True))
            await self._database.write(
                partial(queue.settle, batch=batch, space=space, vectors=found)
            )
        tell()
