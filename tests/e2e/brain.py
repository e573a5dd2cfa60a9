"""The brain file of an Engine, read from outside."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from september.brain.store.connection import Handle, Row, connect

from .client import Event

OF_A_TASK = (
    "conversations",
    "turns",
    "messages",
    "channel_events",
    "hitl_requests",
    "working_memory_log",
    "trajectories",
)
"""Tables with a task_id."""


@contextmanager
def opened(path: Path, *, read_only: bool = False) -> Generator[Handle]:
    """A connection, of the Engine's SQLite: two of them in one process drop each other's locks."""
    connection = connect(path, read_only=read_only)
    connection.set_busy_timeout(5000)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def writing(path: Path) -> Generator[None]:
    """Hold the brain's write lock: whoever commits meanwhile waits for us."""
    with opened(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def change(path: Path, sql: str) -> None:
    """Change a brain that no Engine has open."""
    with opened(path) as connection:
        connection.execute(sql)


def rows(path: Path, sql: str, *values: Any) -> list[Row]:
    """The rows of a query."""
    with opened(path, read_only=True) as connection:
        return connection.execute(sql, values).fetchall()


def logged(path: Path, task_id: str = "task") -> list[Event]:
    """The task's event log."""
    found = rows(
        path, "SELECT id, type, data FROM channel_events WHERE task_id = ? ORDER BY id", task_id
    )
    return [Event(event_id, name, json.loads(data)) for event_id, name, data in found]


def everything_of(path: Path, task_id: str = "task") -> dict[str, list[Row]]:
    """All rows about a task."""
    found = {
        table: rows(path, f"SELECT * FROM {table} WHERE task_id = ? ORDER BY 1", task_id)
        for table in OF_A_TASK
    }
    calls = "SELECT * FROM tool_calls WHERE turn_id IN (SELECT turn_id FROM turns WHERE task_id=?)"
    return {**found, "tool_calls": rows(path, calls, task_id)}


def statuses(path: Path, task_id: str = "task") -> list[str]:
    """How the task's turns stand, oldest first."""
    found = rows(path, "SELECT status FROM turns WHERE task_id = ? ORDER BY created_at", task_id)
    return [status for (status,) in found]


def transcript(path: Path, task_id: str = "task") -> list[tuple[str, list[dict[str, Any]]]]:
    """Role and blocks of every message in force."""
    found = rows(
        path,
        "SELECT role, blocks FROM messages WHERE task_id = ? AND superseded_at IS NULL"
        " ORDER BY seq",
        task_id,
    )
    return [(role, json.loads(blocks)) for role, blocks in found]


def unpaired(path: Path, task_id: str = "task") -> list[str]:
    """What is wrong with the pairing of tool calls and results; nothing, in a valid transcript.

    The answer to a message with calls is the next message, with one result each in call order.
    """
    wrong: list[str] = []
    messages = transcript(path, task_id)
    for place, (role, blocks) in enumerate(messages):
        calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if calls and role != "assistant":
            wrong.append(f"message {place}: a call by the {role}")
        after = messages[place + 1][1] if place + 1 < len(messages) else []
        results = [b["tool_use_id"] for b in after if b["type"] == "tool_result"]
        if calls != results:
            wrong.append(f"message {place}: calls {calls} have the results {results}")
    return wrong


def intact(path: Path) -> bool:
    """Whether SQLite finds nothing wrong with the file."""
    return rows(path, "PRAGMA integrity_check") == [("ok",)]
