"""Summaries of traces, as far as one batch of rows tells; stores add them up."""

from collections.abc import Iterable, Sequence

from .row import TraceRow, TraceSummary


def summaries(rows: Iterable[TraceRow]) -> list[TraceSummary]:
    """One for each trace of which there are rows."""
    by_trace: dict[str, list[TraceRow]] = {}
    for row in rows:
        by_trace.setdefault(row.trace_id, []).append(row)
    return [_summary(one) for one in by_trace.values()]


def _summary(rows: Sequence[TraceRow]) -> TraceSummary:
    # One pass, and plain: every row that is recorded goes through here.
    first, task_id, turn_id = rows[0], "", ""
    started_at = first.at - first.wait_us
    ended_at = failures = slowest_us = 0
    for row in rows:
        if row.at - row.wait_us < started_at:
            first, started_at = row, row.at - row.wait_us
        ended_at = max(ended_at, row.at + row.handling_us)
        slowest_us = max(slowest_us, row.handling_us)
        failures += row.failed
        task_id = task_id or row.task_id
        turn_id = turn_id or row.turn_id
    return TraceSummary(
        trace_id=first.trace_id,
        name=first.name,
        started_at=started_at,
        duration_us=ended_at - started_at,
        spans=len(rows),
        failures=failures,
        slowest_us=slowest_us,
        task_id=task_id,
        turn_id=turn_id,
    )
