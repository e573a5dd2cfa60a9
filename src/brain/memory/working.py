"""Working memory: short notes of one task, which expire."""

from ..store.connection import Connection

LIFETIME_S = 24 * 3600
"""How long an entry lives unless told otherwise (contract, section 19.16)."""


def entries(connection: Connection, task_id: str, now: int) -> tuple[tuple[str, str], ...]:
    """Keys and values in force at `now` (milliseconds), in the order of their last writing."""
    rows = connection.execute(
        "SELECT key, value FROM working_memory_log AS newest WHERE task_id = ?1"
        " AND expires_at > ?2 AND value IS NOT NULL AND id = ("
        "   SELECT max(id) FROM working_memory_log AS later"
        "   WHERE later.task_id = ?1 AND later.key = newest.key)"
        " ORDER BY id",
        (task_id, now),
    )
    return tuple((key, value) for key, value in rows)


def note(
    connection: Connection, task_id: str, key: str, value: str | None, now: int, expires_at: int
) -> None:
    """Write an entry, or with None erase it. Times are milliseconds since the epoch."""
    connection.execute(
        "INSERT INTO working_memory_log (task_id, key, value, created_at, expires_at)"
        " VALUES (?1, ?2, ?3, ?4, ?5)",
        (task_id, key, value, now, expires_at),
    )


def forget_expired(connection: Connection, now: int) -> int:
    """Remove what expired before `now`; return how many rows that were."""
    connection.execute("DELETE FROM working_memory_log WHERE expires_at <= ?1", (now,))
    return connection.changes()
