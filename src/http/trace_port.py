"""What HTTP needs of a service's traces: answers as structs, and one protocol.

The Engine and the orchestrator answer the same way, so one page and one command line read both.
"""

from collections.abc import Sequence
from typing import Annotated, Protocol

from msgspec import Meta, Struct

from ..actors import Snapshot
from ..traces.causes import Why
from ..traces.outline import Line
from ..traces.row import Losses, TraceFilter, TraceSummary
from .stream_port import Stream


class TracePage(Struct, frozen=True, kw_only=True):
    """Traces, latest first. `losses` is what this process could not record."""

    traces: Sequence[TraceSummary]
    losses: Losses


class TraceDetail(Struct, frozen=True, kw_only=True):
    """One trace, as a tree in the order of time."""

    trace_id: str
    lines: Sequence[Line]


class ActorRate(Struct, frozen=True, kw_only=True):
    """How many messages an actor handled per second since it was last looked at."""

    path: str
    per_second: float


class ActorList(Struct, frozen=True, kw_only=True):
    """Every actor and supervisor, parents before children."""

    actors: Sequence[Snapshot]
    rates: Annotated[
        Sequence[ActorRate],
        Meta(description="Of the actors that handled anything since the look before this one"),
    ] = ()


class TracePort(Protocol):
    """The traces of a service, as the routes see them. Methods may raise SeptemberError."""

    async def page(self, wanted: TraceFilter) -> TracePage:
        """The traces that fit."""
        ...

    async def trace(self, trace_id: str) -> TraceDetail:
        """One trace; NOT_FOUND for an unknown one."""
        ...

    async def why(self, target: str) -> Why:
        """The root cause of an event, turn, task, trace, span or of an actor's state."""
        ...

    def actors(self) -> ActorList:
        """Every actor now."""
        ...

    async def follow(self, after: int | None) -> Stream:
        """The rows stored after the row `after`, by default from now on, for ever."""
        ...

    async def watch(self, every_s: float) -> Stream:
        """Every actor, again and again."""
        ...
