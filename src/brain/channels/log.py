"""The event log: every event is in the brain, with its id, before anybody sees it.

One log for the whole brain gives one integer sequence, one order of commits and replay across
tasks. Appends are committed one after another; a turn sends what has gathered while the last
commit ran, so the batch grows with the load and a lone event waits for nobody.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

import trio
from msgspec import Struct

from ...actors import Actor, ActorRef, Message, Reply
from ...errors import SeptemberError
from ..clock import now_ms
from ..store.connection import Connection, Value
from ..store.database import Database
from .events import Event
from .frame import Frame, framed
from .recent import RecentFrames

RECENT_FRAMES = 4096
RECENT_BYTES = 2**22
"""Frames, and bytes of them, kept in memory so that a client that follows closely needs no read."""

SUBSCRIBER_BATCHES = 256
"""Batches a subscriber may lag behind before it is cut off and has to read from the brain."""

Frames: TypeAlias = tuple[Frame, ...]
Work: TypeAlias = Callable[[Connection], None]


@dataclass(frozen=True, slots=True)
class Append(Message["int | SeptemberError"]):
    """Log the events of a turn; answered with the last id once they are durable.

    `also` runs in the same transaction, before the events: what they report is true when seen.
    A brain that cannot be written now (full, busy) is the error that `append` raises.
    """

    task_id: str
    turn_id: str
    events: tuple[Event, ...]
    also: Work | None = field(default=None, repr=False)


class Subscription(Struct, frozen=True):
    """Live frames after `head`. `recent` holds the frames in (after, head] when `complete`.

    `live` ends when the subscriber lagged too far or the log restarted: read on from the brain.
    """

    key: int
    head: int
    recent: Frames
    complete: bool
    live: "trio.MemoryReceiveChannel[Frames]"


class Subscribe(Message[Subscription], Struct, frozen=True):
    """Follow one task, or all of them (None), from the id `after`."""

    task_id: str | None
    after: int


class Unsubscribe(Message[None], Struct, frozen=True):
    """Stop following."""

    key: int


class IsFollowed(Message[bool], Struct, frozen=True):
    """Whether anybody follows this task now."""

    task_id: str


async def append(
    log: ActorRef["LogMessage"],
    task_id: str,
    turn_id: str,
    events: tuple[Event, ...],
    also: Work | None = None,
) -> int:
    """Log events (see Append) and return the last id. Raises SeptemberError if they are not."""
    answer = await log.call(Append(task_id, turn_id, events, also))
    if isinstance(answer, SeptemberError):
        raise answer
    return answer


LogMessage: TypeAlias = Append | Subscribe | Unsubscribe | IsFollowed

_INSERT = (
    "INSERT INTO channel_events (id, task_id, turn_id, type, data, created_at)"
    " VALUES (?, ?, ?, ?, ?, ?)"
)


class EventLog(Actor[LogMessage]):
    """Gives every event its id, commits it, then hands it to whoever follows."""

    replayable = True

    def __init__(self, database: Database) -> None:
        self._database = database
        self._next_id = 1
        self._recent = RecentFrames(RECENT_FRAMES, RECENT_BYTES)
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
            case IsFollowed(task_id):
                wanted = {wish for wish, _ in self._followers.values()}
                return msg.reply(bool(wanted & {task_id, None}))
            case _:
                assert_never(msg)

    async def _append(self, msg: Append) -> int | SeptemberError:
        frames, rows = self._frames(msg)

        def commit(connection: Connection) -> None:
            if msg.also is not None:
                msg.also(connection)
            connection.executemany(_INSERT, rows)

        try:
            await self._database.write(commit)
        except SeptemberError as refusal:
            return refusal
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
        oldest = self._recent.oldest() or self._next_id
        return Subscription(
            key=self._last_key,
            head=self._next_id - 1,
            recent=self._recent.after(after, task_id),
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
