"""Who writes traces to the fleet's database, and what those who died left half told.

Each orchestrator enters the ids of its spans beside its number, and the number is held by an
advisory lock for as long as the process lives (see `membership`).
"""

from typing import Final, TypeAlias, cast

from ..actors import span_prefix
from ..traces.row import TraceRow
from ..traces.stump import RECENT, stump
from .registry import ALIVE_LOCK
from .store.database import Session

_ENTER: Final = (
    "INSERT INTO trace_writers (span_prefix, orchestrator) VALUES ($1, $2) ON CONFLICT DO NOTHING"
)
_DEAD: Final = f"""
SELECT span_prefix FROM trace_writers GROUP BY span_prefix HAVING NOT bool_or(EXISTS (
    SELECT 1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.objsubid = 2
        AND l.classid = {ALIVE_LOCK} AND l.objid = orchestrator AND l.granted))
"""
_UNFINISHED: Final = """
SELECT trace_id, parent_id AS span_id, min(at) AS began_at, max(at + handling_us) AS ended_at
FROM trace_rows part
WHERE id > (SELECT max(id) FROM trace_rows) - $1 AND left(parent_id, 6) = ANY($2::text[])
    AND NOT EXISTS (SELECT 1 FROM trace_rows WHERE span_id = part.parent_id)
GROUP BY trace_id, parent_id
"""

_Unfinished: TypeAlias = tuple[str, str, int, int]


async def enter(session: Session, orchestrator: int) -> None:
    """Note that the orchestrator of this number is this process.

    One that has just lost its seat counts as dead until it enters with its next number: a span
    of it that another one finds open just then is told twice, cut short and as it ended.
    """
    await session.execute(_ENTER, span_prefix(), orchestrator)


async def take_dead(session: Session) -> list[str]:
    """Strike out the processes that are no more, and return with what their spans begin."""
    dead = [cast("str", row["span_prefix"]) for row in await session.rows(_DEAD)]
    if dead:
        await session.execute("DELETE FROM trace_writers WHERE span_prefix = ANY($1::text[])", dead)
    return dead


async def unfinished(session: Session, dead: list[str]) -> list[TraceRow]:
    """The spans of dead processes of which there are parts, but no end."""
    found = await session.rows(_UNFINISHED, RECENT, dead)
    return [stump(*cast("_Unfinished", tuple(row.values()))) for row in found]
