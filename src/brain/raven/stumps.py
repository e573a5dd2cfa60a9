"""What a killed process left half told: a span is stored when it ends, and some never did.

At the next boot each of them gets a row that says so, so that no trace has a gap without a word.
"""

from typing import Final

from ...traces.row import TraceRow
from ..store.connection import Connection
from . import rows

RECENT: Final = 20_000
"""Rows that are looked through, the latest; work that was going on has its parts among them."""

CUT_SHORT: Final = "cut_short"

_FIND: Final = """
SELECT trace_id, parent_id, min(at), max(at + handling_us), max(task_id), max(turn_id)
FROM trace_rows AS part
WHERE id > (SELECT max(id) FROM trace_rows) - ?1 AND at < ?2 AND parent_id <> ''
    AND NOT (kind = 'span' AND path GLOB '[A-Z]* /*')
    AND NOT EXISTS (SELECT 1 FROM trace_rows WHERE span_id = part.parent_id)
GROUP BY trace_id, parent_id
"""
# A request's parent is in its caller's process; that it is not here is no gap.


def complete(connection: Connection, before: int) -> int:
    """Add a row for each parent that is missing in traces from before `before` (µs); how many."""
    found = connection.execute(_FIND, (RECENT, before)).fetchall()
    rows.keep(connection, [_stump(*one) for one in found])
    return len(found)


def _stump(
    trace_id: str, span_id: str, began: int, ended: int, task_id: str, turn_id: str
) -> TraceRow:
    return TraceRow(
        kind="span",
        at=began,
        trace_id=trace_id,
        span_id=span_id,
        path="unfinished work",
        handling_us=ended - began,
        outcome=CUT_SHORT,
        detail="the Engine ended while this was going on; only what was over by then is recorded",
        task_id=task_id,
        turn_id=turn_id,
    )
