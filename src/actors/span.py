"""Spans: which piece of work is going on here, in which trace, and until when.

Ids are counters on a random per-process prefix and become hex only when read.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from math import inf
from typing import Final

_TRACEPARENT: Final = re.compile(r"\A(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


def _random_bits(size: int) -> int:
    return int.from_bytes(os.urandom(size), "big") | 1


_trace_prefix = _random_bits(8) << 64
_span_ids = count(_random_bits(3) << 40)


class Scope:
    """A piece of work: its place in a trace, its deadline (trio time), the calls it awaits."""

    __slots__ = ("deadline", "parent_id", "span_id", "trace_id", "waits")

    def __init__(self, parent: "Scope | None", deadline: float) -> None:
        self.span_id = span_id = next(_span_ids)
        self.deadline = deadline
        self.waits: list[Scope] | None = None
        if parent is None:
            self.trace_id = _trace_prefix | span_id
            self.parent_id = 0
        else:
            self.trace_id = parent.trace_id
            self.parent_id = parent.span_id

    @property
    def traceparent(self) -> str:
        """The W3C header that makes the next process continue this trace."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-01"


CURRENT: Final[ContextVar[Scope | None]] = ContextVar("september.actors.scope", default=None)


def current_span() -> Scope | None:
    """Return the work this task is doing now, or None outside any message and `span_scope`."""
    return CURRENT.get()


def new_span_id() -> int:
    """Return an id no other span of this process has."""
    return next(_span_ids)


def parse_traceparent(header: str) -> tuple[int, int] | None:
    """Return (trace id, parent span id) of a W3C traceparent; None when it is not valid."""
    found = _TRACEPARENT.match(header.strip().lower())
    if found is None:
        return None
    trace_id, span_id = int(found[1], 16), int(found[2], 16)
    return (trace_id, span_id) if trace_id and span_id else None


@contextmanager
def span_scope(traceparent: str | None = None, *, deadline: float = inf) -> Iterator[Scope]:
    """Open a span for code that is no actor; every call and cast inside becomes its child.

    `traceparent` continues the trace of another process, unless it is malformed.
    `deadline` (trio time) bounds every call made inside.
    """
    outer = CURRENT.get()
    scope = Scope(outer, min(deadline, outer.deadline if outer else inf))
    remote = parse_traceparent(traceparent) if traceparent else None
    if remote is not None:
        scope.trace_id, scope.parent_id = remote
    token = CURRENT.set(scope)
    try:
        yield scope
    finally:
        CURRENT.reset(token)
