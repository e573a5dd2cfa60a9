"""No span that an orchestrator recorded may have a parent that is nowhere."""

from typing import Final

from september.fleet.store.database import Database, Session
from september.fleet.trace_store import store_rows
from september.fleet.trace_writers import unfinished

KILLED: Final[set[str]] = set()
"""Databases of orchestrators that a test has killed: what was under way is told by the next one."""

_DANGLING: Final = """
SELECT kind, path, trace_id, parent_id FROM trace_rows AS child
WHERE parent_id <> '' AND NOT (kind = 'span' AND path ~ '^[A-Z]+ /')
    AND NOT EXISTS (SELECT 1 FROM trace_rows WHERE span_id = child.parent_id)
"""
_TWICE: Final = "SELECT path, span_id FROM trace_rows GROUP BY path, span_id HAVING count(*) > 1"


async def gaps(url: str) -> list[str]:
    """What was recorded twice, or without recording what caused it, except requests."""
    database = Database(url, pool_min=1, pool_max=1)
    await database.open()
    try:
        if await database.read(_is_empty):
            return []
        if url in KILLED:
            await database.write(_bury)
        return await database.read(_gaps)
    finally:
        await database.close()


async def _is_empty(session: Session) -> bool:
    return await session.value("SELECT to_regclass('trace_writers')") is None


async def _bury(session: Session) -> None:
    """Do what the next orchestrator does."""
    writers = await session.rows("SELECT DISTINCT span_prefix FROM trace_writers")
    dead = [str(row["span_prefix"]) for row in writers]
    await store_rows(session, await unfinished(session, dead))


async def _gaps(session: Session) -> list[str]:
    dangling = [
        f"{row['kind']} {row['path']}: trace {row['trace_id']} has no span {row['parent_id']}"
        for row in await session.rows(_DANGLING)
    ]
    twice = [f"twice: {row['path']} {row['span_id']}" for row in await session.rows(_TWICE)]
    return dangling + twice
