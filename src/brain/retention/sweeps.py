"""What may go, in small bites: found on a reader, removed by row number on the writer.

Contract, section 19.16. Events of a turn that runs stay, whatever their age: closing it reads them.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from ..store.connection import Connection

BITE: Final = 250
"""Rows that one transaction removes: some milliseconds of the writer's time."""


class Lifetimes(msgspec.Struct, frozen=True):
    """How long events live after they were written, in seconds; of turns that wait for a person
    as long as their question may."""

    events_s: float
    waiting_events_s: float


class Sweep(msgspec.Struct, frozen=True):
    """One kind of rows: which of them may go now, and how they go."""

    name: str
    due: Callable[[Connection, int, Lifetimes], list[int]]
    remove: str


def _old_events(connection: Connection, now: int, lifetimes: Lifetimes) -> list[int]:
    """Oldest first, so that the event that closed a turn is the last of it to go."""
    rows = connection.execute(
        "SELECT e.id FROM channel_events AS e LEFT JOIN turns AS t ON t.turn_id = e.turn_id"
        " WHERE e.created_at <= ?1 AND (t.status IS NULL"
        "   OR t.status NOT IN ('queued', 'running', 'waiting')"
        "   OR (e.created_at <= ?2 AND EXISTS (SELECT 1 FROM hitl_requests AS h"
        "     WHERE h.turn_id = e.turn_id AND h.status = 'pending')))"
        " ORDER BY e.created_at, e.id LIMIT ?3",
        (
            now - int(lifetimes.events_s * 1000),
            now - int(lifetimes.waiting_events_s * 1000),
            BITE,
        ),
    )
    return [row_id for (row_id,) in rows]


def _expired_notes(connection: Connection, now: int, lifetimes: Lifetimes) -> list[int]:
    rows = connection.execute(
        "SELECT id FROM working_memory_log WHERE expires_at <= ? ORDER BY expires_at LIMIT ?",
        (now, BITE),
    )
    return [row_id for (row_id,) in rows]


SWEEPS: Final[Sequence[Sweep]] = (
    Sweep(
        "events",
        _old_events,
        "DELETE FROM channel_events WHERE id IN (SELECT value FROM json_each(?))",
    ),
    Sweep(
        "working_memory",
        _expired_notes,
        "DELETE FROM working_memory_log WHERE id IN (SELECT value FROM json_each(?))",
    ),
)
"""Traces and observability events are bounded where they are written (raven)."""


def due(connection: Connection, sweep: Sweep, now: int, of: Lifetimes) -> list[int]:
    """The rows that may go at `now` (ms), at most a bite of them."""
    return sweep.due(connection, now, of)


def remove(connection: Connection, sweep: Sweep, rows: Sequence[int]) -> int:
    """Remove these rows; return how many were still there."""
    connection.execute(sweep.remove, (msgspec.json.encode(list(rows)).decode(),))
    return connection.changes()


def free_pages(connection: Connection) -> int:
    """Pages of the file that hold nothing."""
    found = connection.execute("PRAGMA freelist_count").fetchone()
    return int(found[0]) if found else 0


def give_back(connection: Connection, pages: int) -> None:
    """Cut up to `pages` free pages off the file."""
    for _ in connection.execute(f"PRAGMA incremental_vacuum({int(pages)})"):
        pass  # each step of the statement gives back one page
