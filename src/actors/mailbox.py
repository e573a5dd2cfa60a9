"""A bounded mailbox with two lanes, read by one task that parks while it is empty."""

from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Generic, TypeVar

import trio

from .wake import wake

Item = TypeVar("Item")


class Overflow(Enum):
    """What a cast does when the mailbox is full. A call and a `send` always wait for room."""

    WAIT = "wait"
    """Stand in line for room; the line is as long as the mailbox, then it is FAIL."""
    DROP_OLDEST = "drop_oldest"
    """The oldest cast in the mailbox becomes a dead letter; a call is never dropped."""
    FAIL = "fail"
    """`cast` raises MailboxFull."""


class Mailbox(Generic[Item]):
    """Ordinary messages, at most `capacity`; urgent ones before them; and a line for room.

    Whatever stands in the line moves into the mailbox, in order, as room appears; `on_room` is
    told of each that does.
    """

    __slots__ = ("_line", "_on_room", "_ordinary", "_urgent", "capacity", "high_water", "reader")

    def __init__(self, capacity: int, on_room: Callable[[Item], None]) -> None:
        if capacity < 1:
            raise ValueError(f"a mailbox needs room for at least one message, not {capacity}")
        self.capacity = capacity
        self.high_water = 0
        self.reader: trio.lowlevel.Task | None = None
        """The task parked in `wait`; it only is when there is nothing to read."""
        self._on_room = on_room
        self._ordinary: deque[Item] | None = None  # each is made when it is first needed
        self._urgent: deque[Item] | None = None
        self._line: deque[Item] | None = None

    def __len__(self) -> int:
        return len(self._ordinary or ()) + self.urgent + self.in_line

    @property
    def urgent(self) -> int:
        """How many urgent messages wait."""
        return len(self._urgent) if self._urgent else 0

    @property
    def in_line(self) -> int:
        """How many messages wait for room."""
        return len(self._line) if self._line else 0

    def offer(self, item: Item) -> bool:
        """Put `item` into the ordinary lane; False when there is no room."""
        ordinary = self._ordinary
        if ordinary is None:
            ordinary = self._ordinary = deque()
        depth = len(ordinary)
        if depth >= self.capacity:
            return False
        ordinary.append(item)
        if depth >= self.high_water:
            self.high_water = depth + 1
        if self.reader is not None:
            self.wake()
        return True

    def stand_in_line(self, item: Item) -> None:
        """Let `item` wait for room."""
        if self._line is None:
            self._line = deque()
        self._line.append(item)

    def push_urgent(self, item: Item) -> None:
        """Put `item` ahead of every ordinary message, behind the urgent ones already there."""
        if self._urgent is None:
            self._urgent = deque()
        self._urgent.append(item)
        self.wake()

    def take(self) -> Item | None:
        """Return the next message, urgent lane first; None when there is none."""
        if self._urgent:
            return self._urgent.popleft()
        if not self._ordinary:
            return None
        item = self._ordinary.popleft()
        if self._line:
            self._refill()
        return item

    def remove(self, item: Item) -> bool:
        """Take a withdrawn message out, wherever it waits; False when it is not here."""
        for lane in (self._ordinary, self._line, self._urgent):
            if lane and item in lane:
                lane.remove(item)
                self._refill()
                return True
        return False

    def drop_oldest(self, may_drop: Callable[[Item], bool]) -> Item | None:
        """Remove and return the oldest ordinary message that `may_drop` allows to be lost."""
        for item in self._ordinary or ():
            if may_drop(item):
                self.remove(item)
                return item
        return None

    def drain(self) -> Iterator[Item]:
        """Empty the mailbox, yielding everything in the order it would have been read."""
        while (item := self.take()) is not None:
            yield item

    def wake(self) -> None:
        """Make the reader look again, if it is parked."""
        task = self.reader
        if task is not None:
            self.reader = None
            wake(task)

    async def wait(self) -> None:
        """Park the calling task until something arrives; only one task may read."""
        self.reader = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _refill(self) -> None:
        while self._line and self._ordinary is not None and len(self._ordinary) < self.capacity:
            item = self._line.popleft()
            self._ordinary.append(item)
            self._on_room(item)

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self.reader = None
        return trio.lowlevel.Abort.SUCCEEDED
