"""Trace rows in the brain: written in batches, bounded by age and by size."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec.structs import astuple, replace

from ...traces.row import TraceRow, TraceSummary
from ...traces.summary import summaries
from ..store.connection import Connection

COLUMNS: Final = TraceRow.__struct_fields__


def _each(columns: int) -> str:
    """Reads an array of rows from JSON, so that a batch is one statement.

    SQLite gives Python's lock away for each statement, and beside a busy loop a thread waits for
    it: 1,000 rows stored one by one held the brain's writer for seconds (`bench/traces.py`).
    """
    values = ", ".join(f"value ->> {place}" for place in range(columns))
    return f"SELECT {values} FROM jsonb_each(jsonb(?)) WHERE 1"  # WHERE: or ON would be a join's


_INSERT: Final = (
    f"INSERT INTO trace_rows ({', '.join(COLUMNS)}, failed, size) {_each(len(COLUMNS) + 2)}"
)

_SUMMARISE: Final = f"""
INSERT INTO traces
    (trace_id, name, started_at, ended_at, rows, failures, slowest_us, task_id, turn_id)
{_each(9)}
ON CONFLICT (trace_id) DO UPDATE SET
    name = CASE WHEN excluded.started_at < started_at OR name = '' THEN excluded.name
        ELSE name END,
    started_at = min(started_at, excluded.started_at),
    ended_at = max(ended_at, excluded.ended_at),
    rows = rows + excluded.rows,
    failures = failures + excluded.failures,
    slowest_us = max(slowest_us, excluded.slowest_us),
    task_id = CASE WHEN task_id = '' THEN excluded.task_id ELSE task_id END,
    turn_id = CASE WHEN turn_id = '' THEN excluded.turn_id ELSE turn_id END
"""

PRUNED_AT_ONCE: Final = 500
"""Rows removed in one transaction: some milliseconds of the writer's time."""


def known(connection: Connection, row: TraceRow) -> bool:
    """Whether this row is stored already."""
    found = connection.execute(
        "SELECT 1 FROM trace_rows WHERE span_id = ? AND trace_id = ?", (row.span_id, row.trace_id)
    )
    return found.fetchone() is not None


def keep(connection: Connection, rows: Sequence[TraceRow]) -> None:
    """Store a batch of rows and bring the summaries of their traces up to date."""
    connection.execute(_INSERT, (_json(map(_values, rows)),))
    connection.execute(_SUMMARISE, (_json(map(_summary, summaries(rows))),))


def _json(rows: Iterable[tuple[str | int, ...]]) -> str:
    return msgspec.json.encode(list(rows)).decode()


def _values(row: TraceRow) -> tuple[str | int, ...]:
    return (*astuple(row), row.failed, row.size)


def _summary(one: TraceSummary) -> tuple[str | int, ...]:
    return (
        one.trace_id,
        one.name,
        one.started_at,
        one.started_at + one.duration_us,
        one.spans,
        one.failures,
        one.slowest_us,
        one.task_id,
        one.turn_id,
    )


def stored_size(connection: Connection) -> int:
    """About how many bytes all trace rows take."""
    row = connection.execute("SELECT coalesce(sum(size), 0) FROM trace_rows").fetchone()
    return int(row[0]) if row is not None else 0


def prune(connection: Connection, before: int, excess: int) -> int:
    """Remove the oldest rows: those from before `before` (µs), and until `excess` bytes are gone.

    At most PRUNED_AT_ONCE rows; the bytes that were freed come back, 0 when nothing was to do.
    """
    oldest = connection.execute(
        "SELECT id, at, size FROM trace_rows ORDER BY id LIMIT ?", (PRUNED_AT_ONCE,)
    )
    last, freed = 0, 0
    for row_id, at, size in oldest.fetchall():
        if at >= before and freed >= excess:
            break
        last, freed = row_id, freed + size
    if last:
        connection.execute("DELETE FROM trace_rows WHERE id <= ?", (last,))
        connection.execute(
            "DELETE FROM traces WHERE ended_at < ?1 OR (ended_at <= coalesce("
            " (SELECT at FROM trace_rows ORDER BY id LIMIT 1), 9e18) AND NOT EXISTS"
            " (SELECT 1 FROM trace_rows WHERE trace_rows.trace_id = traces.trace_id))",
            (before,),
        )
    return freed


def trace_row(columns: Sequence[str | int]) -> TraceRow:
    """A row of the database as it was stored."""
    return replace(_BLANK, **dict(zip(COLUMNS, columns, strict=False)))


_BLANK: Final = TraceRow(kind="", at=0, trace_id="", span_id="", path="")
