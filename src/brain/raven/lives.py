"""What the brain has of one life of an actor: what it took, sent and was answered."""

from collections.abc import Sequence
from typing import Final

import msgspec

from ...errors import SeptemberError
from ...traces.life import Life
from ...traces.reader import MOST_ROWS, unknown_target
from ...traces.row import TraceRow
from ..store.connection import Connection, Value
from .rows import COLUMNS, trace_row

_ROW: Final = ", ".join(f"row.{one}" for one in COLUMNS)

_TAKEN: Final = (
    "row.path = ?1 AND row.kind = 'message' AND row.incarnation = ?2 AND row.at BETWEEN ?3 AND ?4"
)

_SENT: Final = f"""
WITH RECURSIVE work (span_id, trace_id) AS (
    SELECT row.span_id, row.trace_id FROM trace_rows AS row WHERE {_TAKEN}
    UNION
    SELECT value ->> 0, value ->> 1 FROM json_each(?6)
    UNION
    SELECT row.span_id, row.trace_id FROM work
    JOIN trace_rows AS row ON row.trace_id = work.trace_id AND row.parent_id = work.span_id
    WHERE row.kind = 'span'
)
SELECT {_ROW} FROM work
JOIN trace_rows AS row ON row.trace_id = work.trace_id AND row.parent_id = work.span_id
WHERE row.kind IN ('message', 'span', 'dead_letter') AND row.path <> ?1
ORDER BY row.at, row.id LIMIT ?5
"""


def life(
    connection: Connection, actor: str, at: str | None, at_work: Sequence[TraceRow] = ()
) -> Life:
    """The latest life of an actor, or up to the end of its span `at` that of this span.

    `actor` is a path or its last name; `at_work` are the messages that it handles now. Raises
    NOT_FOUND, also if the life's beginning is not kept any more: what follows from it cannot be
    replayed without.
    """
    last = _last(connection, actor, at)
    began = connection.execute(
        "SELECT max(at) FROM trace_rows WHERE path = ? AND kind = 'spawn' AND incarnation = ?"
        " AND at <= ?",
        (last.path, last.incarnation, last.at),
    ).fetchone()
    if began is None or began[0] is None:
        raise SeptemberError(
            "NOT_FOUND",
            f"the beginning of this life of {last.path} is not kept any more; choose a later one",
            {"actor": last.path, "incarnation": last.incarnation},
        )
    since, until = int(began[0]), last.ended_at if at is not None else 2**62
    bounds = (last.path, last.incarnation, since, until, MOST_ROWS)
    taken = _rows(connection, f"{_TAKEN} ORDER BY row.at, row.id LIMIT ?5", bounds)
    if len(taken) == MOST_ROWS:
        raise _too_long(last)
    over = {row.span_id for row in taken}
    going_on = [row for row in at_work if row.path == last.path and since <= row.at <= until]
    going_on = [row for row in going_on if row.span_id not in over]
    spans = msgspec.json.encode([(row.span_id, row.trace_id) for row in going_on]).decode()
    sent = [trace_row(row) for row in connection.execute(_SENT, (*bounds, spans))]
    if len(sent) == MOST_ROWS:
        raise _too_long(last)
    return Life(
        path=last.path,
        incarnation=last.incarnation,
        at=at,
        taken=[*taken, *going_on],
        sent=sent,
        births=_births(connection, last.path, since, until),
        lost=_lost(connection, since, until),
    )


def _last(connection: Connection, actor: str, at: str | None) -> TraceRow:
    where = "(row.path = ?1 OR row.path LIKE '%/' || ?1) AND row.incarnation > 0"
    until = " AND row.span_id = ?2 AND row.kind = 'message'" if at is not None else ""
    given = (actor, at) if at is not None else (actor,)
    found = _rows(connection, f"{where}{until} ORDER BY row.id DESC LIMIT 1", given)
    if not found:
        raise unknown_target(actor if at is None else f"{at} of {actor}", "an actor and its span")
    return found[0]


def _too_long(last: TraceRow) -> SeptemberError:
    return SeptemberError(
        "INVALID_REQUEST",
        f"at: this life of {last.path} has more than {MOST_ROWS} messages; choose an earlier span",
        {"actor": last.path, "incarnation": last.incarnation},
    )


def _births(connection: Connection, path: str, since: int, until: int) -> list[TraceRow]:
    """Who came and went meanwhile, and who was there before; and the actor's own crashes."""
    return _rows(
        connection,
        "row.at <= ?2 AND (row.at >= ?3 AND (row.kind IN ('spawn', 'stop') AND row.path <> ?1"
        " OR row.kind = 'crash' AND row.path = ?1)"
        " OR row.kind = 'spawn' AND row.at >= (SELECT coalesce(max(at), 0) FROM trace_rows"
        "   WHERE kind = 'spawn' AND path NOT LIKE '%/%' AND at <= ?3)"
        "   AND NOT EXISTS (SELECT 1 FROM trace_rows AS gone WHERE gone.kind = 'stop'"
        "     AND gone.path = row.path AND gone.at >= row.at AND gone.at < ?3))"
        " ORDER BY row.at, row.id LIMIT ?4",
        (path, until, since, MOST_ROWS),
    )


def _lost(connection: Connection, since: int, until: int) -> int:
    """How many observations of this time could not be kept."""
    found = connection.execute(
        "SELECT coalesce(sum(CAST(detail AS INTEGER)), 0) FROM trace_rows"
        " WHERE kind = 'loss' AND at BETWEEN ? AND ?",
        (since, until),
    ).fetchone()
    return int(found[0]) if found is not None else 0


def _rows(connection: Connection, where: str, values: Sequence[Value]) -> list[TraceRow]:
    found = connection.execute(f"SELECT {_ROW} FROM trace_rows AS row WHERE {where}", values)
    return [trace_row(row) for row in found]
