"""`observability_events`: what an operator counts, drawn from the rows as they are kept.

Errors, slow tool calls, permission denials, migration runs, catalog reloads, cache-hit alerts
(contract, section 16).
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from ...traces.row import TraceRow
from ..clock import now_ms
from ..store.connection import Connection

_MIGRATED: Final = "traces_migrations_noted"


def keep(connection: Connection, rows: Sequence[TraceRow], slow_us: int) -> None:
    """Store the events that these rows are."""
    connection.executemany(
        "INSERT INTO observability_events (kind, task_id, turn_id, trace_id, data, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        [
            (
                kind,
                row.task_id or None,
                row.turn_id or None,
                row.trace_id,
                msgspec.json.encode(_data(row)).decode(),
                row.at // 1000,
            )
            for row in rows
            for kind in kinds(row, slow_us)
        ],
    )


def kinds(row: TraceRow, slow_us: int) -> Iterator[str]:
    """Which events a row is; `slow_us` is when a tool call is slow."""
    tool = row.kind == "span" and row.path.startswith("execute_tool ")
    if tool and row.outcome == "permission_denied":
        yield "permission_denied"
    elif row.failed and row.outcome != "permission_denied":  # the decision itself, or a result
        yield "error"
    if tool and row.handling_us >= slow_us:
        yield "slow_tool"
    if row.message_type == "UseCatalog" and row.outcome == "ok":
        yield "catalog_reload"
    if row.path == "chat" and '"cache_hit_alert":true' in row.message:
        yield "cache_hit_alert"


def _data(row: TraceRow) -> dict[str, str | int]:
    return {
        "name": row.name,
        "outcome": row.outcome,
        "detail": row.detail,
        "duration_ms": row.handling_us // 1000,
        "span_id": row.span_id,
    }


class Happening(Struct, frozen=True, kw_only=True):
    """One event. `created_at` is in milliseconds since the epoch; `data` depends on the kind."""

    id: int
    kind: str
    task_id: str | None
    turn_id: str | None
    trace_id: str | None
    data: dict[str, str | int]
    created_at: int


class HappeningFilter(Struct, frozen=True, kw_only=True):
    """Which events to list, latest first. Times are milliseconds; `before` is an event's id."""

    kind: str | None = None
    task_id: str | None = None
    since: int | None = None
    before: int | None = None
    limit: int = 100


def page(connection: Connection, wanted: HappeningFilter) -> list[Happening]:
    """The events that fit, latest first."""
    chosen: list[tuple[str, str | int | None]] = [
        ("kind = ?", wanted.kind),
        ("task_id = ?", wanted.task_id),
        ("created_at >= ?", wanted.since),
        ("id < ?", wanted.before),
    ]
    given = [(condition, value) for condition, value in chosen if value is not None]
    where = " AND ".join(condition for condition, _ in given) or "1"
    found = connection.execute(
        f"SELECT id, kind, task_id, turn_id, trace_id, data, created_at FROM observability_events"
        f" WHERE {where} ORDER BY id DESC LIMIT ?",
        (*(value for _, value in given), wanted.limit),
    )
    names = Happening.__struct_fields__
    rows = (dict(zip(names, row, strict=True)) for row in found)
    return [
        msgspec.convert({**one, "data": msgspec.json.decode(one["data"])}, Happening)
        for one in rows
    ]


def note_migrations(connection: Connection) -> None:
    """One event for each migration that was applied since this was asked last."""
    noted = connection.execute("SELECT value FROM brain_meta WHERE key = ?", (_MIGRATED,))
    row = noted.fetchone()
    last = int(row[0]) if row is not None else 0
    applied = connection.execute(
        "SELECT version, name, applied_at FROM schema_migrations WHERE version > ?"
        " ORDER BY version",
        (last,),
    ).fetchall()
    for version, name, applied_at in applied:
        data = {"version": version, "name": name, "applied_at": applied_at}
        connection.execute(
            "INSERT INTO observability_events (kind, data, created_at) VALUES (?, ?, ?)",
            ("migration", msgspec.json.encode(data).decode(), now_ms()),
        )
    if applied:
        connection.execute(
            "INSERT INTO brain_meta (key, value) VALUES (?1, ?2)"
            " ON CONFLICT (key) DO UPDATE SET value = ?2",
            (_MIGRATED, str(applied[-1][0])),
        )


def prune(connection: Connection, before_ms: int) -> None:
    """Remove events from before `before_ms`."""
    connection.execute("DELETE FROM observability_events WHERE created_at < ?", (before_ms,))
