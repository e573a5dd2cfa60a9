"""Spans: which piece of work is going on here, in which trace, and until when.

Ids are counters on a random per-process prefix and become hex only when read.
"""

import os
import random
import re
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from math import inf
from typing import Final

_TRACEPARENT: Final = re.compile(
    r"\A(?P<version>(?!ff)[0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?P<more>-.*)?\Z"
)


class Ids:
    """Where span ids come from: 24 random bits, then a 40-bit counter."""

    __slots__ = ("spans", "trace_prefix")

    def __init__(self, trace_bits: int, span_bits: int) -> None:
        self.trace_prefix = (trace_bits | 1) << 64
        self.spans = count((span_bits | 1) << 40)


IDS: Final = Ids(int.from_bytes(os.urandom(8)), int.from_bytes(os.urandom(3)))


def span_prefix() -> str:
    """The six hex digits with which the ids of this process's spans begin."""
    return f"{next(IDS.spans) >> 40:06x}"


class Scope:
    """A piece of work: its place in a trace, its deadline (trio time), the calls it awaits.

    `holder` is the work this one is a part of, when both are done by the same task: what the
    part waits for, the whole waits for.
    """

    __slots__ = ("deadline", "holder", "parent_id", "span_id", "trace_id", "waits")

    def __init__(self, parent: "Scope | None", deadline: float) -> None:
        self.span_id = span_id = next(IDS.spans)
        self.deadline = deadline
        self.holder: Scope | None = None
        self.waits: list[Scope] | None = None
        if parent is None:
            self.trace_id = IDS.trace_prefix | span_id
            self.parent_id = 0
        else:
            self.trace_id = parent.trace_id
            self.parent_id = parent.span_id

    @property
    def traceparent(self) -> str:
        """The W3C header that makes the next process continue this trace."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-01"


def waits_of(sender: Scope | None) -> list[Scope]:
    """Return the list of what the sender's task waits for, kept to find deadlocks."""
    if sender is None:
        return []
    holder = sender.holder or sender
    if holder.waits is None:
        holder.waits = []
    return holder.waits


CURRENT: Final[ContextVar[Scope | None]] = ContextVar("september.actors.scope", default=None)


def current_span() -> Scope | None:
    """Return the work this task is doing now, or None outside any message and `span_scope`."""
    return CURRENT.get()


def parse_traceparent(header: str) -> tuple[int, int] | None:
    """Return (trace id, parent span id) of a W3C traceparent; None when it is not valid.

    Rules of https://www.w3.org/TR/trace-context/: version ff and all-zero ids are invalid, and
    only versions after 00 may carry more than four fields.
    """
    found = _TRACEPARENT.match(header.strip())
    if found is None or (found["version"] == "00" and found["more"]):
        return None
    trace_id, span_id = int(found[2], 16), int(found[3], 16)
    return (trace_id, span_id) if trace_id and span_id else None


@contextmanager
def span_scope(traceparent: str | None = None, *, deadline: float = inf) -> Generator[Scope]:
    """Open a span for code that is no actor; every call and cast inside becomes its child.

    `traceparent` continues the trace of another process; one that is malformed is ignored.
    `deadline` (trio time) bounds every call made inside.
    """
    outer = CURRENT.get()
    scope = Scope(outer, min(deadline, outer.deadline if outer else inf))
    if outer is not None:
        scope.holder = outer.holder or outer
    remote = parse_traceparent(traceparent) if traceparent else None
    if remote is not None:
        scope.trace_id, scope.parent_id = remote
    token = CURRENT.set(scope)
    try:
        yield scope
    finally:
        CURRENT.reset(token)


def reseed_ids(seed: int) -> None:
    """Make the ids that follow repeat for the same seed; for simulations only."""
    chance = random.Random(seed)
    fresh = Ids(chance.getrandbits(64), chance.getrandbits(24))
    IDS.trace_prefix, IDS.spans = fresh.trace_prefix, fresh.spans
