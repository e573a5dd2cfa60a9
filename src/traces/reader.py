"""Reading stored traces: what every store answers, and how a question finds its subject."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ..errors import SeptemberError
from .causes import Causes, Why
from .row import TraceFilter, TraceRow, TraceSummary

MOST_ROWS: Final = 20_000
"""Rows of one trace that are read; more would not be looked at."""

TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
SPAN_ID: Final = re.compile(r"[0-9a-f]{16}")

_GRAVEST_FIRST: Final = ("gave_up", "crash", "deadlock", "deadline", "dead_letter")


class TraceReader(Protocol):
    """The traces in a store."""

    async def page(self, wanted: TraceFilter) -> Sequence[TraceSummary]:
        """The traces that fit, latest first."""
        ...

    async def trace(self, trace_id: str) -> Sequence[TraceRow]:
        """All rows of a trace, oldest first; none if it is unknown."""
        ...

    async def since(self, last: int) -> tuple[int, Sequence[TraceRow]]:
        """The rows stored after the row `last`, and the last of them; -1 means from now on."""
        ...

    async def why(self, target: str) -> Why:
        """Explain what `target` names. Raises NOT_FOUND."""
        ...


@dataclass(frozen=True, slots=True)
class Subject:
    """What is to be explained, among the rows that may explain it."""

    row: TraceRow
    rows: Sequence[TraceRow]


def beginning(rows: Sequence[TraceRow]) -> Subject:
    """What a whole trace is about: its turn, or what began it if there is none or it failed."""
    turn = next((row for row in rows if row.path.startswith("invoke_agent ")), None)
    first = Causes(rows).rows[0]
    return Subject(first if first.failed or turn is None else turn, rows)


def worst(rows: Sequence[TraceRow]) -> TraceRow:
    """The row that says most: a decision about an actor before a message that suffered."""
    ranked = sorted(rows, key=lambda row: (row.failed, row.at), reverse=True)
    return min(ranked, key=_gravity)


def _gravity(row: TraceRow) -> int:
    known = row.kind in _GRAVEST_FIRST
    return _GRAVEST_FIRST.index(row.kind) if known else len(_GRAVEST_FIRST)


def lives_lost(rows: Sequence[TraceRow]) -> list[tuple[str, int]]:
    """Actors and incarnations whose crash, recorded elsewhere, took messages of these rows."""
    known = {(row.path, row.incarnation) for row in rows if row.kind == "crash"}
    return sorted({(row.path, row.incarnation) for row in rows if row.outcome == "crashed"} - known)


def unknown_target(target: str, names: str) -> SeptemberError:
    """The refusal for something of which nothing is recorded; `names` is what may be given."""
    return SeptemberError(
        "NOT_FOUND",
        f"nothing is recorded of {target[:80]!r}; give {names}",
        {"target": target[:200]},
    )
