"""Reading the brain's conversations, and forgetting one."""

from msgspec import Struct

from ..errors import SeptemberError
from .agent import transcript
from .agent.transcript import StoredMessage
from .clock import now_ms
from .store.connection import Connection


class Summary(Struct, frozen=True):
    """A task as a list shows it. Times are milliseconds."""

    task_id: str
    title: str
    agent: str
    created_at: int
    updated_at: int


class Position(Struct, frozen=True):
    """Where a page ends: the next one begins below it."""

    updated_at: int
    task_id: str


def page(connection: Connection, limit: int, below: Position | None) -> tuple[Summary, ...]:
    """Up to `limit` conversations, latest first."""
    before = (below.updated_at, below.task_id) if below is not None else (2**62, "")
    rows = connection.execute(
        "SELECT task_id, title, agent, created_at, updated_at FROM conversations"
        " WHERE (updated_at, task_id) < (?, ?) AND parent_task_id IS NULL"
        " ORDER BY updated_at DESC, task_id DESC LIMIT ?",
        (*before, limit),
    )
    return tuple(Summary(*row) for row in rows)


def show(connection: Connection, task_id: str) -> tuple[Summary, tuple[StoredMessage, ...]]:
    """A conversation with its transcript. Raises TASK_NOT_FOUND."""
    found = connection.execute(
        "SELECT task_id, title, agent, created_at, updated_at FROM conversations WHERE task_id = ?",
        (task_id,),
    ).fetchone()
    if found is None:
        raise _unknown(task_id)
    return Summary(*found), transcript.load(connection, task_id)


def forget(connection: Connection, task_id: str) -> None:
    """Delete a conversation: turns, transcript, events and questions. Raises TASK_NOT_FOUND."""
    family = _with_sub_agents(connection, task_id)
    connection.execute("DELETE FROM conversations WHERE task_id = ?", (task_id,))
    if not connection.changes():
        raise _unknown(task_id)
    connection.execute(
        "DELETE FROM learning_steps WHERE pass_id IN"
        " (SELECT pass_id FROM learning_passes WHERE task_id = ?)",
        (task_id,),
    )
    for table in (
        "channel_events",
        "channel_state_snapshots",
        "hitl_requests",
        "working_memory_log",
        "trajectories",
        "learning_signals",
        "permits",
        "permission_decisions",
    ):
        connection.executemany(f"DELETE FROM {table} WHERE task_id = ?", family)


def _with_sub_agents(connection: Connection, task_id: str) -> list[tuple[str]]:
    """A task, and the tasks of the sub-agents it called."""
    rows = connection.execute(
        "WITH RECURSIVE family (id) AS (SELECT ?1 UNION SELECT task_id FROM conversations"
        "  JOIN family ON parent_task_id = family.id) SELECT id FROM family",
        (task_id,),
    )
    return [(found,) for (found,) in rows]


def check_known(connection: Connection, task_id: str) -> None:
    """Raise TASK_NOT_FOUND unless there is such a task."""
    found = connection.execute("SELECT 1 FROM conversations WHERE task_id = ?", (task_id,))
    if found.fetchone() is None:
        raise _unknown(task_id)


def signal(
    connection: Connection, task_id: str, turn_id: str | None, text: str, comment: str | None
) -> None:
    """Keep what a person thought of a turn or task. Raises TASK_NOT_FOUND."""
    known = connection.execute(
        "SELECT 1 FROM conversations WHERE task_id = ?1 AND (?2 IS NULL OR EXISTS ("
        " SELECT 1 FROM turns WHERE turns.task_id = ?1 AND turns.turn_id = ?2))",
        (task_id, turn_id),
    ).fetchone()
    if known is None:
        raise _unknown(task_id)
    connection.execute(
        "INSERT INTO learning_signals (task_id, turn_id, signal, comment, created_at)"
        " VALUES (?, ?, ?, ?, ?)",
        (task_id, turn_id, text, comment, now_ms()),
    )


def open_turns(connection: Connection, task_id: str | None) -> frozenset[str]:
    """The turns of a task, or of all (None), that have not written their last event."""
    rows = connection.execute(
        "SELECT turn_id FROM turns WHERE status IN ('queued', 'running', 'waiting')"
        " AND parent_turn_id IS NULL AND (?1 IS NULL OR task_id = ?1)",
        (task_id,),
    )
    return frozenset(turn_id for (turn_id,) in rows)


def is_told(connection: Connection, turn_id: str) -> bool:
    """Whether the turn is open, or the log still holds how it ended: that event goes last."""
    found = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM channel_events WHERE turn_id = ?1) OR EXISTS (SELECT 1"
        " FROM turns WHERE turn_id = ?1 AND status IN ('queued', 'running', 'waiting'))",
        (turn_id,),
    ).fetchone()
    return bool(found and found[0])


def last_event_at(connection: Connection, after_ms: int) -> int:
    """The id of the last event at or before a time (milliseconds); 0 when there is none."""
    found = connection.execute(
        "SELECT coalesce(max(id), 0) FROM channel_events WHERE created_at <= ?", (after_ms,)
    ).fetchone()
    return int(found[0]) if found else 0


def idle_since(connection: Connection) -> int | None:
    """When a turn last began or ended (milliseconds); None for a brain without turns."""
    found = connection.execute("SELECT max(updated_at) FROM conversations").fetchone()
    return found[0] if found else None


def _unknown(task_id: str) -> SeptemberError:
    return SeptemberError(
        "TASK_NOT_FOUND",
        f"there is no task {task_id!r}; GET /conversations lists them",
        {"task_id": task_id},
    )
