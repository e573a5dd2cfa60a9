"""At the next boot of an Engine that was killed, what it had under way is told in its traces."""

from typing import Final

from ...traces.stump import RECENT, stump
from ..store.connection import Connection
from . import rows

_FIND: Final = """
SELECT trace_id, parent_id, min(at), max(at + handling_us), max(task_id), max(turn_id)
FROM trace_rows AS part
WHERE id > (SELECT max(id) FROM trace_rows) - ?1 AND at < ?2 AND parent_id <> ''
    AND NOT (kind = 'span' AND path GLOB '[A-Z]* /*')
    AND NOT EXISTS (SELECT 1 FROM trace_rows WHERE span_id = part.parent_id)
GROUP BY trace_id, parent_id
"""
# A request's parent is in its caller's process; that it is not here is no gap.


def complete(connection: Connection, before: int) -> int:
    """Add a row for each parent that is missing in traces from before `before` (µs); how many."""
    found = connection.execute(_FIND, (RECENT, before)).fetchall()
    rows.keep(connection, [stump(*one) for one in found])
    return len(found)
