"""What a process that died left half told: a span is stored when it ends, and some never did.

Each of them gets a row that says so, so that no trace has a gap without a word.
"""

from typing import Final

from .row import TraceRow

RECENT: Final = 20_000
"""Rows that are looked through, the latest; work that was going on has its parts among them."""

CUT_SHORT: Final = "cut_short"


def stump(
    trace_id: str,
    span_id: str,
    began_at: int,
    ended_at: int,
    task_id: str = "",
    turn_id: str = "",
) -> TraceRow:
    """The row of a span of which only its parts are known; times in µs since the epoch."""
    return TraceRow(
        kind="span",
        at=began_at,
        trace_id=trace_id,
        span_id=span_id,
        path="unfinished work",
        handling_us=ended_at - began_at,
        outcome=CUT_SHORT,
        detail="its process ended while this was going on; only what was over by then is recorded",
        task_id=task_id,
        turn_id=turn_id,
    )
