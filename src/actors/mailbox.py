"""A bounded mailbox with two lanes, read by one task that parks while it is empty."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import trio

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """Ordinary messages, at most `capacity`; urgent ones before them; and a line for room.

    Whatever stands in the line moves into the mailbox, in order, as room appears.
    """

    __slots__ = ("_line", "_ordinary", "_receiver", "_urgent", "capacity", "high_water")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.high_water = 0
        self._ordinary: deque[Item] = deque()
        self._urgent: deque[Item] | None = None
        self._line: deque[Item] | None = None
        self._receiver: trio.lowlevel.Task | None = None

    def __len__(self) -> int:
        return len(self._ordinary) + len(self._urgent or ()) + len(self._line or ())

    @property
    def idle(self) -> bool:
        """Whether the reader is parked, which it only is when there is nothing to read."""
        return self._receiver is not None

    @property
    def in_line(self) -> int:
        """How many messages wait for room."""
        return len(self._line) if self._line else 0

    def offer(self, item: Item) -> bool:
        """Put `item` into the ordinary lane; False when there is no room."""
        depth = len(self._ordinary)
        if depth >= self.capacity:
            return False
        self._ordinary.append(item)
        if depth >= self.high_water:
            self.high_water = depth + 1
        if self._receiver is not None:
            self.wake()
        return True

    def queue_up(self, item: Item) -> None:
        """Let `item` wait in line for room."""
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
            self._ordinary.append(self._line.popleft())
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
        for item in self._ordinary:
            if may_drop(item):
                self._ordinary.remove(item)
                return item
        return None

    def drain(self) -> Iterator[Item]:
        """Empty the mailbox, yielding everything in the order it would have been read."""
        while (item := self.take()) is not None:
            yield item

    def wake(self) -> None:
        """Make the reader look again, if it is parked."""
        task = self._receiver
        if task is not None:
            self._receiver = None
            trio.lowlevel.reschedule(task)

    async def wait(self) -> None:
        """Park the calling task until something arrives; only one task may read."""
        self._receiver = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _refill(self) -> None:
        while self._line and len(self._ordinary) < self.capacity:
            self._ordinary.append(self._line.popleft())

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._receiver = None
        return trio.lowlevel.Abort.SUCCEEDED
