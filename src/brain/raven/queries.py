"""Reading traces from the brain: lists, whole traces, and what an explanation needs."""

import re
from collections.abc import Sequence
from typing import Final

from ...traces.causes import Causes, Why
from ...traces.reader import (
    MOST_ROWS,
    SPAN_ID,
    TRACE_ID,
    Subject,
    beginning,
    lives_lost,
    unknown_target,
    worst,
)
from ...traces.row import TraceFilter, TraceRow, TraceSummary
from ..store.connection import Connection, Row, Value
from .rows import COLUMNS, trace_row

_ROW: Final = ", ".join(COLUMNS)
_SUMMARY: Final = (
    "trace_id, name, started_at, ended_at - started_at, rows, failures, slowest_us, task_id,"
    " turn_id"
)

_TRACES_OF_A_TURN: Final = 12
"""A turn's own trace, and those of the requests that cancelled it or answered its questions."""

_EVENT: Final = re.compile(r"(?:event:)?(\d+)")


def page(connection: Connection, wanted: TraceFilter) -> list[TraceSummary]:
    """The traces that fit, latest first."""
    conditions, values = _conditions(wanted)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    found = connection.execute(
        f"SELECT {_SUMMARY} FROM traces{where} ORDER BY started_at DESC, trace_id LIMIT ?",
        (*values, wanted.limit),
    )
    return [_summary(row) for row in found]


def _conditions(wanted: TraceFilter) -> tuple[list[str], list[Value]]:
    chosen: list[tuple[str, Value]] = [
        ("task_id = ?", wanted.task_id),
        ("started_at >= ?", wanted.since),
        ("started_at <= ?", wanted.until),
        ("started_at < ?", wanted.before),
        ("slowest_us >= ?", wanted.slow_us),
        ("failures > ?", 0 if wanted.errors else None),
        (_ANY_ROW.format("(path = ?1 OR path LIKE '%/' || ?1)"), wanted.actor),
        (_ANY_ROW.format("message_type = ?"), wanted.message_type),
    ]
    given = [(condition, value) for condition, value in chosen if value is not None]
    numbered = [
        condition.replace("?1", "?").replace("?", f"?{place}")
        for place, (condition, _) in enumerate(given, 1)
    ]
    return numbered, [value for _, value in given]


_ANY_ROW: Final = (
    "EXISTS (SELECT 1 FROM trace_rows WHERE trace_rows.trace_id = traces.trace_id AND {})"
)


def _summary(row: Row) -> TraceSummary:
    names = TraceSummary.__struct_fields__
    return TraceSummary(**dict(zip(names, row, strict=True)))


def trace(connection: Connection, trace_id: str) -> list[TraceRow]:
    """All rows of a trace, oldest first; none if it is unknown."""
    return _rows(connection, "trace_id = ? ORDER BY at, id LIMIT ?", (trace_id, MOST_ROWS))


def since(connection: Connection, last: int, most: int = 500) -> tuple[int, list[TraceRow]]:
    """The rows stored after the row `last`, and the last of them; -1 means from now on."""
    if last < 0:
        newest = connection.execute("SELECT coalesce(max(id), 0) FROM trace_rows").fetchone()
        return (int(newest[0]) if newest is not None else 0), []
    found = connection.execute(
        f"SELECT id, {_ROW} FROM trace_rows WHERE id > ? ORDER BY id LIMIT ?", (last, most)
    ).fetchall()
    return (int(found[-1][0]) if found else last), [trace_row(row[1:]) for row in found]


def why(connection: Connection, target: str) -> Why:
    """Explain an event id, turn, task, trace, span or actor. Raises NOT_FOUND."""
    subject = (
        _of_event(connection, target)
        or _of_turn(connection, target)
        or _of_task(connection, target)
        or _of_trace(connection, target)
        or _of_span(connection, target)
        or _of_actor(connection, target)
    )
    if subject is None:
        names = "an actor, or the id of an event, turn, task, trace or span"
        raise unknown_target(target, names)
    return Causes(_with_crashes(connection, subject.rows)).explain(subject.row)


def _with_crashes(connection: Connection, rows: Sequence[TraceRow]) -> list[TraceRow]:
    """The rows, and the crashes in other traces that took messages of these with them."""
    found = list(rows)
    for path, incarnation in lives_lost(rows)[:_TRACES_OF_A_TURN]:
        condition = "failed = 1 AND path = ? AND incarnation = ? AND kind = 'crash' LIMIT 1"
        for crash in _rows(connection, condition, (path, incarnation)):
            found += trace(connection, crash.trace_id)
    return found


def _of_event(connection: Connection, target: str) -> Subject | None:
    number = _EVENT.fullmatch(target)
    if number is None or len(number[1]) > 15:
        return None
    row = connection.execute(
        "SELECT turn_id, data ->> 'tool_call_id' FROM channel_events WHERE id = ?",
        (int(number[1]),),
    ).fetchone()
    if row is None:
        return None
    turn = _of_turn(connection, str(row[0]))
    return turn if turn is None or row[1] is None else _of_call(turn, str(row[1]))


def _of_call(turn: Subject, tool_call_id: str) -> Subject:
    """The tool call if it is what went wrong; what went well is not why anything happened."""
    named = f'"tool_call_id":"{tool_call_id}"'
    for row in turn.rows:
        if row.path.startswith("execute_tool ") and row.failed and named in row.message:
            return Subject(row, turn.rows)
    return turn


def _of_turn(connection: Connection, target: str) -> Subject | None:
    turn = connection.execute("SELECT trace_id FROM turns WHERE turn_id = ?", (target,)).fetchone()
    if turn is None:
        return None
    others = connection.execute(
        "SELECT DISTINCT trace_id FROM trace_rows WHERE turn_id = ? LIMIT ?",
        (target, _TRACES_OF_A_TURN),
    ).fetchall()
    ids = dict.fromkeys([str(turn[0]), *(str(row[0]) for row in others)])
    rows = [row for trace_id in ids for row in trace(connection, trace_id)]
    own = [row for row in rows if row.turn_id == target and row.kind == "span"]
    for begins in ("invoke_agent ", "repair turn"):
        named = [row for row in own if row.path.startswith(begins)]
        if named:
            return Subject(named[-1], rows)
    mentioned = [row for row in rows if row.turn_id == target]
    return Subject(worst(mentioned), rows) if mentioned else None


def _of_task(connection: Connection, target: str) -> Subject | None:
    row = connection.execute(
        "SELECT turn_id FROM turns WHERE task_id = ? ORDER BY created_at DESC LIMIT 1", (target,)
    ).fetchone()
    return _of_turn(connection, str(row[0])) if row is not None else None


def _of_trace(connection: Connection, target: str) -> Subject | None:
    rows = trace(connection, target) if TRACE_ID.fullmatch(target) else []
    return beginning(rows) if rows else None


def _of_span(connection: Connection, target: str) -> Subject | None:
    if not SPAN_ID.fullmatch(target):
        return None
    found = _rows(connection, "span_id = ? LIMIT 1", (target,))
    return Subject(found[0], trace(connection, found[0].trace_id)) if found else None


def _of_actor(connection: Connection, target: str) -> Subject | None:
    for failed in ("failed = 1 AND ", ""):
        found = _rows(
            connection,
            f"{failed}(path = ?1 OR path LIKE '%/' || ?1) ORDER BY id DESC LIMIT 20",
            (target,),
        )
        if found:
            newest = worst([row for row in found if row.trace_id == found[0].trace_id])
            return Subject(newest, trace(connection, newest.trace_id))
    return None


def _rows(connection: Connection, where: str, values: Sequence[Value]) -> list[TraceRow]:
    found = connection.execute(f"SELECT {_ROW} FROM trace_rows WHERE {where}", values)
    return [trace_row(row) for row in found]
