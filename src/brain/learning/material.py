"""What there is to learn from: finished turns and signals that no pass has taken up yet."""

from typing import Final

import msgspec

from ..herald.conversation import Block, TextBlock, ToolResultBlock, ToolUseBlock
from ..store.connection import Connection

STEPS: Final = 40
"""Turns and signals that one pass takes up; what is left waits for the next."""


class Turn(msgspec.Struct, frozen=True):
    """A finished turn: what the person wrote, what was answered, which tools ran. Times are ms."""

    trajectory_id: str
    task_id: str
    outcome: str
    asked: str
    answered: str
    tools: tuple[str, ...]
    at: int

    @property
    def text(self) -> str:
        """All that was said."""
        return f"{self.asked}\n{self.answered}"


class Signal(msgspec.Struct, frozen=True):
    """What a person thought of a turn or task; `about` is what they had asked there."""

    id: int
    task_id: str
    verdict: str
    comment: str
    about: str
    at: int


class Waiting(msgspec.Struct, frozen=True):
    """A task with something to learn from. Times are ms; `due` is when the next pass may begin."""

    task_id: str
    items: int
    due: int


def turn(connection: Connection, trajectory_id: str) -> Turn | None:
    """The turn of a trajectory; None where it was deleted, or replaced by an edit."""
    found = connection.execute(
        "SELECT task_id, turn_id, outcome, created_at FROM trajectories WHERE trajectory_id = ?",
        (trajectory_id,),
    ).fetchone()
    if found is None:
        return None
    task_id, turn_id, outcome, at = found
    rows = connection.execute(
        "SELECT role, blocks FROM messages WHERE task_id = ? AND turn_id = ?"
        " AND superseded_at IS NULL ORDER BY seq",
        (task_id, turn_id),
    )
    said: dict[str, list[str]] = {"user": [], "assistant": []}
    tools: dict[str, None] = {}
    for role, stored in rows:
        blocks = msgspec.json.decode(stored, type=tuple[Block, ...])
        if not any(isinstance(block, ToolResultBlock) for block in blocks):
            said[role] += [block.text for block in blocks if isinstance(block, TextBlock)]
        tools |= {block.name: None for block in blocks if isinstance(block, ToolUseBlock)}
    if not said["user"]:
        return None
    asked, answered = ("\n".join(said[role]) for role in ("user", "assistant"))
    return Turn(trajectory_id, task_id, outcome, asked, answered, tuple(tools), at)


def signal(connection: Connection, signal_id: int) -> Signal | None:
    """A signal; None where it was deleted."""
    found = connection.execute(
        "SELECT id, task_id, signal, coalesce(comment, ''), coalesce((SELECT summary"
        "   FROM trajectories AS t WHERE t.turn_id = s.turn_id), ''), created_at"
        " FROM learning_signals AS s WHERE id = ?",
        (signal_id,),
    ).fetchone()
    return Signal(*found) if found is not None else None


def unlearned(connection: Connection, task_id: str) -> tuple[tuple[str, str], ...]:
    """Kind and id of what a pass over the task would take up, oldest first."""
    rows = connection.execute(
        "SELECT kind, item FROM ("
        " SELECT 'trajectory' AS kind, trajectory_id AS item, created_at FROM trajectories"
        "   WHERE learned_at IS NULL AND task_id = ?1"
        " UNION ALL SELECT 'signal', CAST(id AS TEXT), created_at FROM learning_signals"
        "   WHERE learned_at IS NULL AND task_id = ?1)"
        " ORDER BY created_at, item LIMIT ?2",
        (task_id, STEPS),
    )
    return tuple((kind, item) for kind, item in rows)


def waiting(connection: Connection, idle_ms: int, interval_ms: int) -> tuple[Waiting, ...]:
    """Every task with something to learn from, the one that is due first in front.

    A task is due when it has been idle for `idle_ms`, and where it never is, `interval_ms` after
    the oldest of what waits. After a failed pass it rests for `interval_ms`.
    """
    rows = connection.execute(
        "SELECT c.task_id, count(*), min(w.created_at), max(c.updated_at, max(w.created_at)),"
        " EXISTS (SELECT 1 FROM turns AS t WHERE t.task_id = c.task_id"
        "   AND t.status IN ('queued', 'running', 'waiting')),"
        " (SELECT max(ended_at) FROM learning_passes AS p WHERE p.task_id = c.task_id"
        "   AND p.status = 'failed')"
        " FROM (SELECT task_id, created_at FROM trajectories WHERE learned_at IS NULL"
        "   UNION ALL SELECT task_id, created_at FROM learning_signals WHERE learned_at IS NULL)"
        " AS w JOIN conversations AS c USING (task_id) GROUP BY c.task_id"
    )
    found = [
        Waiting(task_id, count, _due(oldest, latest, bool(runs), failed, idle_ms, interval_ms))
        for task_id, count, oldest, latest, runs, failed in rows
    ]
    return tuple(sorted(found, key=lambda one: (one.due, one.task_id)))


def _due(
    oldest: int, latest: int, runs: bool, failed: int | None, idle_ms: int, interval_ms: int
) -> int:
    anyway = oldest + interval_ms
    due = anyway if runs else min(anyway, latest + idle_ms)
    return max(due, failed + interval_ms) if failed is not None else due
