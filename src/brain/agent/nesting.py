"""Where a sub-agent stands: in which turn, by which calls it was reached, on whose seat it runs."""

from dataclasses import dataclass, field
from hashlib import sha256

import trio

from ..channels.events import SubAgent
from .job import Job, Nested, Seat


def nested_in(outer: Job, agent: str, tool_call_id: str) -> Nested:
    """The place of the sub-agent that this call of `outer` runs."""
    above = outer.nested
    path = (*(above.path if above else ()), tool_call_id)
    return Nested(
        task_id=above.task_id if above else outer.task_id,
        turn_id=above.turn_id if above else outer.turn_id,
        folder=outer.folder,
        path=path,
        who=SubAgent(agent=agent, call_id="/".join(path)),
    )


def run_id(outer: Job, tool_call_id: str) -> str:
    """The id of a sub-agent's task and turn: the same call has the same after a restart."""
    return "sub-" + sha256(f"{outer.turn_id}/{tool_call_id}".encode()).hexdigest()[:32]


@dataclass(slots=True, eq=False)
class NestedSeat:
    """A sub-agent's own slot, and the turn's seat: while it waits for a person it gives up both."""

    slots: trio.CapacityLimiter
    turn: Seat
    _sits: bool = field(default=False, init=False)

    async def take(self) -> None:
        """Wait for a slot among the sub-agents, then for the turn's seat."""
        if not self._sits:
            await self.slots.acquire_on_behalf_of(self)
            self._sits = True
        await self.turn.take()

    async def ahead(self) -> int:
        """How many must make room first."""
        return await self.turn.ahead()

    def leave(self) -> None:
        """Let others run."""
        self.release()
        self.turn.leave()

    def release(self) -> None:
        """Give the slot back; the turn goes on."""
        if self._sits:
            self._sits = False
            self.slots.release_on_behalf_of(self)
