"""A turn's own channel: what it says goes through here, in order, into the event log."""

import trio
from msgspec import UnsetType
from msgspec.structs import replace

from ...actors import ActorRef
from .events import Event, SubAgent
from .log import LogMessage, Work, append

HIGH_WATER = 1024
"""Events that may wait for the log before `emit` makes the turn wait too."""


class Channel:
    """Gathers a turn's events and appends them while the turn goes on.

    `emit` returns at once (deltas must not wait for a commit); `commit` returns when everything
    emitted so far, and `also` with it, is durable. `run` must run beside the turn. A failure of
    the log is raised from `run`, so it ends the turn that could no longer be recorded.
    `spoke_at` is when something was last said (trio time).
    """

    def __init__(self, log: ActorRef[LogMessage], task_id: str, turn_id: str) -> None:
        self.task_id = task_id
        self.turn_id = turn_id
        self.spoke_at = trio.current_time()
        self.log = log
        self._gathered: list[Event] = []
        self._lock = trio.Lock()
        self._work = trio.Event()
        self._drained = trio.Event()

    async def emit(self, event: Event) -> None:
        """Say something. Waits only when the log is far behind."""
        self._gathered.append(event)
        self._work.set()
        if len(self._gathered) > HIGH_WATER:
            await self._drained.wait()

    async def commit(self, *events: Event, also: Work | None = None) -> None:
        """Say `events`, and wait until they and all before are durable, with `also`.

        They join the batch only under the lock: else `run`, first in line for it, would send
        them in a transaction of its own, and a crash before ours would leave half the truth.
        """
        async with self._lock:
            self._gathered.extend(events)
            await self._send(also)

    async def run(self) -> None:
        """Append what gathers, batch by batch, until cancelled."""
        while True:
            await self._work.wait()
            self._work = trio.Event()
            async with self._lock:
                await self._send(None)

    async def _send(self, also: Work | None) -> None:
        batch, self._gathered = self._gathered, []
        if batch:
            self.spoke_at = trio.current_time()
        if batch or also is not None:
            await append(self.log, self.task_id, self.turn_id, tuple(batch), also)
        self._drained.set()
        self._drained = trio.Event()


class NestedChannel(Channel):
    """A sub-agent's channel: what it says goes into the turn's own, stamped with who says it."""

    def __init__(self, outer: Channel, who: SubAgent) -> None:
        super().__init__(outer.log, outer.task_id, outer.turn_id)
        self._outer = outer
        self._who = who

    async def emit(self, event: Event) -> None:
        """Say something in the turn's stream."""
        await self._outer.emit(self._stamped(event))

    async def commit(self, *events: Event, also: Work | None = None) -> None:
        """Say `events` in the turn's stream, and wait until all is durable, with `also`."""
        await self._outer.commit(*map(self._stamped, events), also=also)

    def _stamped(self, event: Event) -> Event:
        """With this sub-agent's name, unless it comes from one further in."""
        if not isinstance(event.sub_agent, UnsetType):
            return event
        return replace(event, sub_agent=self._who)
