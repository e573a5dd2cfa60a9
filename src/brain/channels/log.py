"""The event log: every event is in the brain, with its id, before anybody sees it.

One log for the whole brain gives one integer sequence, one order of commits and replay across
tasks. Appends are committed one after another; a turn sends what has gathered while the last
commit ran, so the batch grows with the load and a lone event waits for nobody.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

import trio

from ...actors import Actor, Message, Reply
from ..clock import now_ms
from ..store.connection import Connection, Value
from ..store.database import Database
from .events import Event
from .frame import Frame, framed

RECENT_FRAMES = 4096
"""Frames kept in memory so that a client that follows closely needs no read."""

SUBSCRIBER_BATCHES = 256
"""Batches a subscriber may lag behind before it is cut off and has to read from the brain."""

Frames: TypeAlias = tuple[Frame, ...]
Work: TypeAlias = Callable[[Connection], None]


@dataclass(frozen=True, slots=True)
class Append(Message[int]):
    """Log the events of a turn; answered with the last id once they are durable.

    `also` runs in the same transaction, before the events: what they report is true when seen.
    """

    task_id: str
    turn_id: str
    events: tuple[Event, ...]
    also: Work | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Subscription:
    """Live frames after `head`. `recent` holds the frames in (after, head] when `complete`.

    `live` ends when the subscriber lagged too far or the log restarted: read on from the brain.
    """

    key: int
    head: int
    recent: Frames
    complete: bool
    live: "trio.MemoryReceiveChannel[Frames]"


@dataclass(frozen=True, slots=True)
class Subscribe(Message[Subscription]):
    """Follow one task, or all of them (None), from the id `after`."""

    task_id: str | None
    after: int


@dataclass(frozen=True, slots=True)
class Unsubscribe(Message[None]):
    """Stop following."""

    key: int


LogMessage: TypeAlias = Append | Subscribe | Unsubscribe

_INSERT = (
    "INSERT INTO channel_events (id, task_id, turn_id, type, data, created_at)"
    " VALUES (?, ?, ?, ?, ?, ?)"
)


class EventLog(Actor[LogMessage]):
    """Gives every event its id, commits it, then hands it to whoever follows."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._next_id = 1
        self._recent: deque[Frame] = deque(maxlen=RECENT_FRAMES)
        self._followers: dict[int, tuple[str | None, trio.MemorySendChannel[Frames]]] = {}
        self._last_key = 0

    async def started(self) -> None:
        self._next_id = 1 + await self._database.read(_last_id)

    async def stopping(self) -> None:
        for _, channel in self._followers.values():
            channel.close()

    async def handle(self, msg: LogMessage) -> Reply:
        match msg:
            case Append():
                return msg.reply(await self._append(msg))
            case Subscribe(task_id, after):
                return msg.reply(self._subscribe(task_id, after))
            case Unsubscribe(key):
                self._unsubscribe(key)
                return msg.done()
            case _:
                assert_never(msg)

    async def _append(self, msg: Append) -> int:
        frames, rows = self._frames(msg)

        def commit(connection: Connection) -> None:
            if msg.also is not None:
                msg.also(connection)
            connection.executemany(_INSERT, rows)

        await self._database.write(commit)
        self._next_id += len(frames)
        self._publish(msg.task_id, frames)
        return self._next_id - 1

    def _frames(self, msg: Append) -> tuple[Frames, list[Sequence[Value]]]:
        now = now_ms()
        frames: list[Frame] = []
        rows: list[Sequence[Value]] = []
        for event_id, event in enumerate(msg.events, self._next_id):
            frame, data = framed(event_id, msg.task_id, msg.turn_id, event)
            frames.append(frame)
            rows.append((event_id, msg.task_id, msg.turn_id, event.type, data.decode(), now))
        return tuple(frames), rows

    def _publish(self, task_id: str, frames: Frames) -> None:
        self._recent.extend(frames)
        if not frames:
            return
        for key, (wanted, channel) in list(self._followers.items()):
            if wanted is None or wanted == task_id:
                self._deliver(key, channel, frames)

    def _deliver(self, key: int, channel: "trio.MemorySendChannel[Frames]", frames: Frames) -> None:
        try:
            channel.send_nowait(frames)
        except (trio.WouldBlock, trio.BrokenResourceError):
            self._unsubscribe(key)

    def _subscribe(self, task_id: str | None, after: int) -> Subscription:
        send, receive = trio.open_memory_channel[Frames](SUBSCRIBER_BATCHES)
        self._last_key += 1
        self._followers[self._last_key] = (task_id, send)
        oldest = self._recent[0].id if self._recent else self._next_id
        recent = tuple(
            frame
            for frame in self._recent
            if frame.id > after and (task_id is None or frame.task_id == task_id)
        )
        return Subscription(
            key=self._last_key,
            head=self._next_id - 1,
            recent=recent,
            complete=after >= oldest - 1,
            live=receive,
        )

    def _unsubscribe(self, key: int) -> None:
        follower = self._followers.pop(key, None)
        if follower is not None:
            follower[1].close()


def _last_id(connection: Connection) -> int:
    """The highest id ever given, also when retention has removed its row."""
    found = connection.execute(
        "SELECT seq FROM sqlite_sequence WHERE name = 'channel_events'"
    ).fetchone()
    return int(found[0]) if found else 0
