"""Answers that are remembered, and every decision on a tool call: both in the brain.

What an answer is for is kept as a digest, with a text for people that holds no secret.
"""

import hashlib
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from ..clock import new_id, now_ms
from ..store.connection import Connection
from .concern import Concern

Scope: TypeAlias = Literal["task", "always"]
Outcome: TypeAlias = Literal["allowed", "remembered", "granted", "refused", "expired", "cancelled",
                             "denied"]  # fmt: skip
"""`allowed` and `denied` by rule, `remembered` an earlier answer; the others are a person's."""

_SHOWN: Final = 500


class Permit(Struct, frozen=True):
    """A yes that stands: for this tool and subject, in one task or always. Times in ms."""

    permit_id: str
    tool: str
    subject: str
    scope: Scope
    task_id: str | None
    created_at: int


class Judgement(Struct, frozen=True):
    """What was decided on a call, and why."""

    task_id: str
    turn_id: str
    tool_call_id: str
    tool: str
    outcome: Outcome
    concern: Concern | None = None
    reason: str = ""
    scope: Scope | None = None


def stands(connection: Connection, tool: str, subject: str, task_id: str) -> bool:
    """Whether an earlier yes covers this."""
    found = connection.execute(
        "SELECT 1 FROM permits WHERE tool = ? AND subject_hash = ? AND task_id IN ('', ?)",
        (tool, _digest(subject), task_id),
    )
    return found.fetchone() is not None


def keep(connection: Connection, permit: Permit, subject: str) -> None:
    """Remember a yes for `subject`, of which the permit holds what may be shown."""
    connection.execute(
        "INSERT INTO permits (permit_id, tool, subject_hash, shown, task_id, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            permit.permit_id, permit.tool, _digest(subject), permit.subject[:_SHOWN],
            permit.task_id or "", permit.created_at,
        ),
    )  # fmt: skip


def made(tool: str, shown: str, scope: Scope, task_id: str) -> Permit:
    """A new permit; `shown` is its subject without secrets."""
    task = task_id if scope == "task" else None
    return Permit(new_id("permit"), tool, shown, scope, task, now_ms())


def standing(connection: Connection) -> tuple[Permit, ...]:
    """Every permit, oldest first."""
    rows = connection.execute(
        "SELECT permit_id, tool, shown, task_id, created_at FROM permits ORDER BY created_at, rowid"
    )
    return tuple(
        Permit(permit_id, tool, shown, "task" if task_id else "always", task_id or None, created_at)
        for permit_id, tool, shown, task_id, created_at in rows
    )


def revoke(connection: Connection, permit_id: str) -> bool:
    """Forget a yes; False if there is none of this id."""
    connection.execute("DELETE FROM permits WHERE permit_id = ?", (permit_id,))
    return connection.changes() > 0


def note(connection: Connection, judgement: Judgement) -> None:
    """Keep a decision; a call that is taken up again has the later one."""
    one = judgement
    connection.execute(
        "INSERT OR REPLACE INTO permission_decisions (turn_id, tool_call_id, task_id, tool,"
        " outcome, concern, reason, scope, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            one.turn_id, one.tool_call_id, one.task_id, one.tool, one.outcome, one.concern,
            one.reason, one.scope, now_ms(),
        ),
    )  # fmt: skip


def noted(
    connection: Connection, task_id: str | None, limit: int
) -> tuple[tuple[Judgement, int], ...]:
    """Decisions with their times (ms), latest first."""
    rows = connection.execute(
        "SELECT task_id, turn_id, tool_call_id, tool, outcome, concern, reason, scope, created_at"
        " FROM permission_decisions WHERE ?1 IS NULL OR task_id = ?1"
        " ORDER BY created_at DESC, turn_id, tool_call_id LIMIT ?2",
        (task_id, limit),
    )
    return tuple((Judgement(*columns), at) for *columns, at in rows)


def _digest(subject: str) -> str:
    return hashlib.sha256(subject.encode(errors="surrogatepass")).hexdigest()
