"""Following the log: what is buffered first, then what comes, each event exactly once."""

from functools import partial
from types import TracebackType
from typing import Final, Self

import trio
from msgspec.structs import replace

from ...actors import ActorRef
from ..store.connection import Connection
from ..store.database import Database
from .frame import Frame, stored
from .log import Frames, LogMessage, Subscribe, Subscription, Unsubscribe

PAGE: Final = 500
PAGE_BYTES: Final = 2**18
"""Events, and bytes of them, read from the brain at a time; one event may be larger alone."""

NEWEST: Final = 2**63 - 1
"""Above every event id."""


class Following:
    """Iterates over frames with ids above `after`, in batches, of one task or of all (None).

    Ends when all turns in `until` have closed; with none, when the buffer has been read. With
    `turn` only that turn's frames come, and it ends when that turn closes. Use as a context
    manager: leaving it unsubscribes. A subscription that lagged too far, or that the log lost in
    a restart, is taken up again where it ended.
    """

    def __init__(
        self,
        log: ActorRef[LogMessage],
        database: Database,
        *,
        task_id: str | None,
        after: int,
        until: frozenset[str] = frozenset(),
        turn: str | None = None,
    ) -> None:
        self._log = log
        self._database = database
        self._task = task_id
        self._after = after
        self._turn = turn
        self._until = set(until) if turn is None else {turn}
        self._live = bool(self._until)
        self._subscription: Subscription | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frames:
        while True:
            if self._live and not self._until:
                raise StopAsyncIteration
            frames = await self._next()
            self._after = frames[-1].id
            self._until.difference_update(frame.turn_id for frame in frames if frame.closing)
            mine = self._mine(frames)
            if mine:
                return mine

    def _mine(self, frames: Frames) -> Frames:
        if self._turn is None:
            return frames
        return tuple(frame for frame in frames if frame.turn_id == self._turn)

    async def _next(self) -> Frames:
        if not self._live:
            return await self._page(NEWEST) or _stop()
        while True:
            subscription = self._subscription or await self._join()
            if self._after < subscription.head:
                frames = await self._buffered(subscription)
                if frames:
                    return frames
                self._after = subscription.head
            try:
                return await subscription.live.receive()
            except trio.EndOfChannel:
                self._leave()

    async def _buffered(self, subscription: Subscription) -> Frames:
        """Frames up to the subscription's head, from memory where they still are."""
        if not subscription.complete:
            return await self._page(subscription.head)
        self._subscription = replace(subscription, recent=())  # or a follower would pin them
        return tuple(frame for frame in subscription.recent if frame.id > self._after)

    async def _page(self, head: int) -> Frames:
        read = partial(_page, task_id=self._task, after=self._after, head=head)
        return await self._database.read(read)

    async def _join(self) -> Subscription:
        self._subscription = await self._log.call(Subscribe(self._task, self._after))
        return self._subscription

    def _leave(self) -> None:
        if self._subscription is not None:
            self._subscription.live.close()
            self._log.cast(Unsubscribe(self._subscription.key))
            self._subscription = None


def _stop() -> Frames:
    raise StopAsyncIteration


def _page(connection: Connection, task_id: str | None, after: int, head: int) -> Frames:
    """The first frames with ids in (after, head], up to the limits of a page."""
    only = "task_id = ?3 AND" if task_id is not None else "?3 IS NULL AND"
    rows = connection.execute(
        "SELECT id, task_id, turn_id, type, data FROM channel_events"
        f" WHERE {only} id > ?1 AND id <= ?2 ORDER BY id LIMIT {PAGE}",
        (after, head, task_id),
    )
    frames: list[Frame] = []
    size = 0
    while size < PAGE_BYTES and (row := rows.fetchone()) is not None:
        frames.append(stored(*row))
        size += len(frames[-1].wire)
    return tuple(frames)
