"""Turns and tasks in the brain, as the coordinator keeps them."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from ...errors import SeptemberError
from ..agent.request import TurnRequest
from ..clock import now_ms
from ..media.rows import MediaItem, keep
from ..store.connection import Connection, Row

TITLE_LENGTH = 80
"""Characters of the first message that name a conversation."""


class NewTurn(msgspec.Struct, frozen=True):
    """A turn that was accepted."""

    turn_id: str
    task_id: str
    request: TurnRequest
    idempotency_key: str | None
    trace_id: str


class OpenTurn(msgspec.Struct, frozen=True):
    """A turn without an ending. `asks` says that it waits for a person."""

    turn: NewTurn
    status: str
    asks: bool


def accept(connection: Connection, turn: NewTurn, media: Sequence[MediaItem] = ()) -> None:
    """Keep a turn and its media: from here on it will run, or be closed with a reason."""
    now = now_ms()
    title = " ".join(turn.request.message.split())[:TITLE_LENGTH]
    connection.execute(
        "INSERT INTO conversations (task_id, agent, title, created_at, updated_at)"
        " VALUES (?1, ?2, ?3, ?4, ?4)"
        " ON CONFLICT (task_id) DO UPDATE SET agent = excluded.agent, updated_at = ?4",
        (turn.task_id, turn.request.agent, title, now),
    )
    connection.execute(
        "INSERT INTO turns (turn_id, task_id, status, agent, request, idempotency_key, trace_id,"
        " created_at) VALUES (?, ?, 'queued', ?, ?, ?, ?, ?)",
        (
            turn.turn_id,
            turn.task_id,
            turn.request.agent,
            msgspec.json.encode(turn.request).decode(),
            turn.idempotency_key,
            turn.trace_id,
            now,
        ),
    )
    keep(connection, turn.task_id, media)


def repeated(connection: Connection, key: str) -> tuple[str, str, int] | None:
    """Task, turn, and the event id before its first, of the turn that used this key before."""
    found = connection.execute(
        "SELECT task_id, turn_id, coalesce((SELECT min(id) - 1 FROM channel_events AS event"
        "   WHERE event.turn_id = turns.turn_id), 0)"
        " FROM turns WHERE idempotency_key = ?",
        (key,),
    ).fetchone()
    return (found[0], found[1], found[2]) if found else None


def standing(
    connection: Connection, task_id: str, turn_id: str
) -> Literal["asking", "open", "closed"]:
    """Whether a turn waits for its person, runs, or has written its last event."""
    found = connection.execute(
        "SELECT status IN ('queued', 'running', 'waiting'), EXISTS (SELECT 1"
        "   FROM hitl_requests WHERE task_id = ? AND status = 'pending')"
        " FROM turns WHERE turn_id = ?",
        (task_id, turn_id),
    ).fetchone()
    if found is None or not found[0]:
        return "closed"
    return "asking" if found[1] else "open"


def asking(connection: Connection) -> frozenset[str]:
    """The tasks that wait for a person."""
    rows = connection.execute("SELECT DISTINCT task_id FROM hitl_requests WHERE status = 'pending'")
    return frozenset(task_id for (task_id,) in rows)


def unfinished(connection: Connection) -> tuple[OpenTurn, ...]:
    """All turns without an ending, oldest first."""
    rows = connection.execute(
        "SELECT turn_id, task_id, request, idempotency_key, trace_id, status, EXISTS (SELECT 1"
        "   FROM hitl_requests AS asked"
        "   WHERE asked.turn_id = turns.turn_id AND asked.status = 'pending')"
        " FROM turns WHERE status IN ('queued', 'running', 'waiting') AND parent_turn_id IS NULL"
        " ORDER BY created_at, turn_id"
    )
    return tuple(_open_turn(row) for row in rows)


def _open_turn(row: Row) -> OpenTurn:
    turn_id, task_id, request, key, trace_id, status, asks = row
    body = msgspec.json.decode(request, type=TurnRequest)
    return OpenTurn(NewTurn(turn_id, task_id, body, key, trace_id), status, bool(asks))


def unknown_agent(name: str, known: list[str]) -> SeptemberError:
    """No such agent in the catalog."""
    return SeptemberError(
        "AGENT_NOT_FOUND",
        f"agent: the catalog has no agent {name!r}; GET /agents lists {', '.join(sorted(known))}",
        {"agent": name},
    )


def busy(task_id: str, turn_id: str) -> SeptemberError:
    """The task has a turn that runs."""
    return SeptemberError(
        "TASK_BUSY",
        f"task {task_id!r} runs a turn; wait for it, cancel it with POST /execute/cancel,"
        ' or send on_busy "queue" or "interrupt"',
        {"task_id": task_id, "turn_id": turn_id},
    )


def asks(task_id: str, turn_id: str) -> SeptemberError:
    """The task waits for an answer of its person."""
    return SeptemberError(
        "HITL_REQUIRED",
        f"task {task_id!r} waits for an answer; GET /hitl/pending shows the question,"
        " POST /hitl/respond answers it",
        {"task_id": task_id, "turn_id": turn_id},
    )


def crowded(waiting: int) -> SeptemberError:
    """All slots are taken and the line is full."""
    return SeptemberError(
        "SLOTS_EXHAUSTED",
        f"all task slots are taken and {waiting} turns wait already; try again later",
        {"waiting": waiting},
        retry_after=5.0,
    )


DRAINING = SeptemberError(
    "DRAINING", "the Engine is shutting down; send the request again after the restart"
)
