"""Working memory: short notes of one task, which expire."""

from ..store.connection import Connection


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
