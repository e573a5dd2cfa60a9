"""Sub-agents in the brain: a conversation and a turn below those that called them."""

import msgspec

from ..clock import now_ms
from ..herald.conversation import ChatMessage, TextBlock
from ..store.connection import Connection
from . import transcript
from .job import Job
from .transcript import StoredCall

OPEN = "('queued', 'running', 'waiting')"


def status(connection: Connection, turn_id: str) -> str | None:
    """The status of a sub-agent's turn; None when it has not begun."""
    found = connection.execute("SELECT status FROM turns WHERE turn_id = ?", (turn_id,)).fetchone()
    return str(found[0]) if found else None


def open_run(connection: Connection, job: Job, caller: Job) -> None:
    """Begin a sub-agent's conversation with the task it was given."""
    assert job.nested is not None
    now, message = now_ms(), job.request.message
    connection.execute(
        "INSERT INTO conversations (task_id, agent, title, created_at, updated_at, parent_task_id)"
        " VALUES (?1, ?2, ?3, ?4, ?4, ?5)",
        (job.task_id, job.agent.name, " ".join(message.split())[:80], now, caller.task_id),
    )
    connection.execute(
        "INSERT INTO turns (turn_id, task_id, status, agent, request, trace_id, created_at,"
        " parent_turn_id, nested_path)"
        " SELECT ?, ?, 'running', ?, ?, trace_id, ?, turn_id, ? FROM turns WHERE turn_id = ?",
        (
            job.turn_id, job.task_id, job.agent.name, msgspec.json.encode(job.request).decode(),
            now, job.nested.who.call_id, caller.turn_id,
        ),
    )  # fmt: skip
    said = ChatMessage("user", (TextBlock(message),))
    transcript.add(connection, job.task_id, job.turn_id, said)


def end_run(connection: Connection, job: Job, status: str) -> None:
    """End a sub-agent's turn; what it left open is settled."""
    assert job.nested is not None
    path = job.nested.who.call_id
    _settle(connection, job.nested.turn_id, job.task_id, job.turn_id, path, "failed")
    _close(connection, job.turn_id, status)


def close_below(connection: Connection, turn_id: str, reason: str) -> None:
    """Close every sub-agent that a turn leaves open, so that its transcript stays valid."""
    rows = connection.execute(
        "WITH RECURSIVE below (turn_id, task_id, status, nested_path) AS ("
        "  SELECT turn_id, task_id, status, nested_path FROM turns WHERE parent_turn_id = ?1"
        "  UNION ALL SELECT t.turn_id, t.task_id, t.status, t.nested_path"
        "  FROM turns AS t JOIN below ON t.parent_turn_id = below.turn_id)"
        f" SELECT turn_id, task_id, nested_path FROM below WHERE status IN {OPEN}",
        (turn_id,),
    ).fetchall()
    for nested_turn, nested_task, path in rows:
        _settle(connection, turn_id, nested_task, nested_turn, path, reason)
        _close(connection, nested_turn, "cancelled")


def unstored_text(connection: Connection, turn_id: str, path: str | None) -> str:
    """The text shown since the last stored message, whose transaction ends with a `usage`.

    `turn_id` is the turn whose stream it is; `path` leads to the sub-agent, None is the agent
    itself.
    """
    rows = connection.execute(
        "SELECT json_extract(data, '$.text') FROM channel_events"
        " WHERE turn_id = ?1 AND type = 'text_delta'"
        " AND json_extract(data, '$.sub_agent.call_id') IS ?2 AND id > coalesce(("
        "   SELECT max(id) FROM channel_events WHERE turn_id = ?1 AND type = 'usage'"
        "   AND json_extract(data, '$.sub_agent.call_id') IS ?2), 0)"
        " ORDER BY id",
        (turn_id, path),
    )
    return "".join(text for (text,) in rows)


def ended(call: StoredCall, reason: str) -> StoredCall:
    """A call with an answer: its own, or why it has none."""
    if call.status == "finished":
        return call
    return msgspec.structs.replace(call, status="finished", error=reason, duration_ms=0)


def _settle(
    connection: Connection, root: str, task_id: str, turn_id: str, path: str, reason: str
) -> None:
    text = unstored_text(connection, root, path)
    if text.strip():
        said = ChatMessage("assistant", (TextBlock(text),))
        transcript.add(connection, task_id, turn_id, said)
    calls = [ended(call, reason) for call in transcript.open_calls(connection, turn_id)]
    if calls:
        transcript.settle_calls(connection, task_id, turn_id, calls)


def _close(connection: Connection, turn_id: str, status: str) -> None:
    connection.execute(
        "UPDATE turns SET status = ?, ended_at = ? WHERE turn_id = ?", (status, now_ms(), turn_id)
    )
