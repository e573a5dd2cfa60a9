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
    first = min(rows, key=lambda row: row.at - row.wait_us)
    started_at = first.at - first.wait_us
    return TraceSummary(
        trace_id=first.trace_id,
        name=first.name,
        started_at=started_at,
        duration_us=max(row.ended_at for row in rows) - started_at,
        spans=len(rows),
        failures=sum(row.failed for row in rows),
        slowest_us=max(row.handling_us for row in rows),
        task_id=_first(row.task_id for row in rows),
        turn_id=_first(row.turn_id for row in rows),
    )


def _first(texts: Iterable[str]) -> str:
    return next(filter(None, texts), "")
