"""Following the log: what is buffered first, then what comes, each event exactly once."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

from ...actors import ActorRef, ActorStopped
from ..store.connection import Connection
from ..store.database import Database
from .frame import Frame, stored
from .log import Frames, LogMessage, Subscribe, Subscription, Unsubscribe

PAGE = 500
"""Events read from the brain at a time."""

NEWEST = 2**63 - 1
"""Above every event id."""


@dataclass(frozen=True, slots=True)
class Follower:
    """Follows the log for one task or all, through lag and restarts of the log."""

    log: ActorRef[LogMessage]
    database: Database

    async def turn(self, task_id: str, turn_id: str, after: int) -> AsyncIterator[Frames]:
        """The frames of one turn after the id `after`, until the turn closes."""
        async for frames in self._everything(task_id, after):
            mine = tuple(frame for frame in frames if frame.turn_id == turn_id)
            if mine:
                yield mine
            if any(frame.closing for frame in mine):
                return

    async def buffered(self, task_id: str | None, after: int) -> AsyncIterator[Frames]:
        """What is in the log after the id `after`, and nothing that comes later."""
        async for page in self._stored(task_id, after, NEWEST):
            yield page

    async def until_idle(
        self, task_id: str | None, after: int, open_turns: frozenset[str]
    ) -> AsyncIterator[Frames]:
        """What is buffered, then live frames until all of `open_turns` have closed."""
        waiting = set(open_turns)
        async for frames in self._everything(task_id, after):
            yield frames
            waiting -= {frame.turn_id for frame in frames if frame.closing}
            if not waiting:
                return

    async def _everything(self, task_id: str | None, after: int) -> AsyncIterator[Frames]:
        """Frames for ever; a cut subscription is taken up again where it ended."""
        while True:
            subscription = await self.log.call(Subscribe(task_id, after))
            try:
                async for frames in self._subscribed(task_id, after, subscription):
                    after = frames[-1].id
                    yield frames
            finally:
                self._leave(subscription)

    async def _subscribed(
        self, task_id: str | None, after: int, subscription: Subscription
    ) -> AsyncIterator[Frames]:
        if subscription.complete:
            if subscription.recent:
                yield subscription.recent
        else:
            async for page in self._stored(task_id, after, subscription.head):
                yield page
        with subscription.live:
            async for frames in subscription.live:
                yield frames

    def _leave(self, subscription: Subscription) -> None:
        try:
            self.log.cast(Unsubscribe(subscription.key))
        except ActorStopped:
            return

    async def _stored(self, task_id: str | None, after: int, head: int) -> AsyncIterator[Frames]:
        while after < head:
            page = await self.database.read(partial(_page, task_id=task_id, after=after, head=head))
            if not page:
                return
            yield page
            after = page[-1].id


def _page(connection: Connection, task_id: str | None, after: int, head: int) -> tuple[Frame, ...]:
    """Up to PAGE frames with ids in (after, head]."""
    rows = connection.execute(
        "SELECT id, task_id, turn_id, type, data FROM channel_events"
        " WHERE id > ?1 AND id <= ?2 AND (?3 IS NULL OR task_id = ?3) ORDER BY id LIMIT ?4",
        (after, head, task_id, PAGE),
    )
    return tuple(stored(*row) for row in rows)
