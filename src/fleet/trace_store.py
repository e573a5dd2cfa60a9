"""The orchestrators' traces in PostgreSQL: written in batches, bounded by age and size, read back.

Several orchestrators may write to one database. They do it one after the other, so that whoever
reads row after row by id misses none that is committed later.
"""

import re
from collections.abc import Sequence
from functools import partial
from typing import Final, cast

import msgspec

from ..traces.causes import Causes, Why
from ..traces.reader import (
    MOST_ROWS,
    SPAN_ID,
    TRACE_ID,
    Subject,
    beginning,
    lives_lost,
    unknown_target,
    worst,
)
from ..traces.row import TraceFilter, TraceRow, TraceSummary
from ..traces.summary import summaries
from .membership import Standing
from .store.database import Database, Session
from .trace_writers import enter, take_dead, unfinished

_WRITE_LOCK: Final = 0x5E97_7ACE
_PRUNED_AT_ONCE: Final = 5_000
_FOLLOWED_AT_ONCE: Final = 500
_OTHER_CRASHES: Final = 12

_COLUMNS: Final = TraceRow.__struct_fields__
_ROW: Final = ", ".join(_COLUMNS)
_NUMBERS: Final = frozenset({"at", "incarnation", "wait_us", "handling_us"})
_ARRAYS: Final = ", ".join(
    f"${place}::{'bigint' if name in _NUMBERS else 'text'}[]"
    for place, name in enumerate(_COLUMNS, 1)
)
_INSERT: Final = (
    f"INSERT INTO trace_rows ({_ROW}, failed, size) SELECT * FROM unnest({_ARRAYS},"
    f" ${len(_COLUMNS) + 1}::boolean[], ${len(_COLUMNS) + 2}::integer[])"
)
_SUMMARISE: Final = """
INSERT INTO traces AS t
    (trace_id, name, started_at, ended_at, spans, failures, slowest_us, task_id, turn_id)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::integer[],
    $6::integer[], $7::bigint[], $8::text[], $9::text[])
ON CONFLICT (trace_id) DO UPDATE SET
    name = CASE WHEN excluded.started_at < t.started_at THEN excluded.name ELSE t.name END,
    started_at = least(t.started_at, excluded.started_at),
    ended_at = greatest(t.ended_at, excluded.ended_at),
    spans = t.spans + excluded.spans,
    failures = t.failures + excluded.failures,
    slowest_us = greatest(t.slowest_us, excluded.slowest_us),
    task_id = coalesce(nullif(t.task_id, ''), excluded.task_id),
    turn_id = coalesce(nullif(t.turn_id, ''), excluded.turn_id)
"""
_NAMED: Final = "substring(path FROM '[^/ ]*$') = {name} AND {path} IN (path, {name})"
"""An actor by its whole path or by the last name in it, as the index has it.

Spans of an Engine end with its id, as the path of its actor does.
"""

_PAGE: Final = f"""
SELECT trace_id, name, started_at, ended_at - started_at AS duration_us, spans, failures,
    slowest_us, task_id, turn_id FROM traces t
WHERE ($1::text IS NULL OR task_id = $1) AND ($2::bigint IS NULL OR started_at >= $2)
    AND ($3::bigint IS NULL OR started_at <= $3) AND ($4::bigint IS NULL OR started_at < $4)
    AND ($5::bigint IS NULL OR slowest_us >= $5) AND (NOT $6::boolean OR failures > 0)
    AND ($7::text IS NULL OR EXISTS (SELECT 1 FROM trace_rows r WHERE r.trace_id = t.trace_id
        AND {_NAMED.format(name="$8::text", path="$7")}))
    AND ($9::text IS NULL OR EXISTS (SELECT 1 FROM trace_rows r WHERE r.trace_id = t.trace_id
        AND message_type = $9))
ORDER BY started_at DESC, trace_id LIMIT $10
"""


class FleetTraces:
    """Implements `TraceStore` and `TraceReader` on the fleet's database."""

    def __init__(self, database: Database, standing: Standing) -> None:
        self._database = database
        self._standing = standing

    async def begin(self, began_at: int) -> None:
        """Enter this process among those that write here."""
        await self.mend()

    async def mend(self) -> None:
        """Tell of what orchestrators that died had under way. Raises DatabaseUnavailable."""
        number = await self._standing.number()
        await self._database.write(partial(_mend, number=number))

    async def keep(self, batch: Sequence[TraceRow]) -> None:
        """Store a batch, unless it is stored already."""
        await self._database.write(partial(store_rows, rows=batch))

    async def size(self) -> int:
        """About how many bytes all rows take, whoever wrote them."""
        return await self._database.read(_size)

    async def prune(self, before: int, excess: int) -> int:
        """Remove the oldest rows."""
        return await self._database.write(partial(_prune, before=before, excess=excess))

    async def page(self, wanted: TraceFilter) -> Sequence[TraceSummary]:
        """The traces that fit, latest first."""
        return await self._database.read(partial(_page, wanted=wanted))

    async def trace(self, trace_id: str) -> Sequence[TraceRow]:
        """All rows of a trace."""
        return await self._database.read(partial(_trace, trace_id=_storable(trace_id)))

    async def since(self, last: int) -> tuple[int, Sequence[TraceRow]]:
        """The rows stored after the row `last`."""
        return await self._database.read(partial(_since, last=last))

    async def why(self, target: str) -> Why:
        """Explain a trace, span, actor, Engine or user."""
        return await self._database.read(partial(_why, target=_storable(target)))


async def store_rows(session: Session, rows: Sequence[TraceRow]) -> None:
    """Store rows in a transaction of their own, one batch at a time over all orchestrators.

    Nothing is done when they are there already: a write whose answer was lost is repeated.
    """
    await session.execute("SELECT pg_advisory_xact_lock($1)", _WRITE_LOCK)
    known = "SELECT EXISTS (SELECT 1 FROM trace_rows WHERE span_id = $1 AND trace_id = $2)"
    if not rows or await session.value(known, rows[0].span_id, rows[0].trace_id):
        return
    columns = [_column(rows, name) for name in _COLUMNS]
    await session.execute(
        _INSERT, *columns, [row.failed for row in rows], [row.size for row in rows]
    )
    found = summaries(rows)
    await session.execute(
        _SUMMARISE,
        [one.trace_id for one in found],
        [_storable(one.name) for one in found],
        [one.started_at for one in found],
        [one.started_at + one.duration_us for one in found],
        [one.spans for one in found],
        [one.failures for one in found],
        [one.slowest_us for one in found],
        [_storable(one.task_id) for one in found],
        [_storable(one.turn_id) for one in found],
    )


def _column(rows: Sequence[TraceRow], name: str) -> list[str] | list[int]:
    if name in _NUMBERS:
        return [getattr(row, name) for row in rows]
    return [_storable(getattr(row, name)) for row in rows]


def _storable(text: str) -> str:
    """PostgreSQL's text holds neither NUL nor half a character; a path may have either."""
    if text.isprintable():
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


async def _mend(session: Session, number: int) -> None:
    await enter(session, number)
    dead = await take_dead(session)
    if dead:
        await store_rows(session, await unfinished(session, dead))


async def _size(session: Session) -> int:
    return cast("int", await session.value("SELECT coalesce(sum(size), 0)::bigint FROM trace_rows"))


async def _prune(session: Session, before: int, excess: int) -> int:
    await session.execute("SELECT pg_advisory_xact_lock($1)", _WRITE_LOCK)
    last = await session.value(
        "SELECT max(id) FROM (SELECT id, at, sum(size) OVER (ORDER BY id) - size AS freed"
        " FROM trace_rows ORDER BY id LIMIT $3) AS oldest WHERE at < $1 OR freed < $2",
        before,
        excess,
        _PRUNED_AT_ONCE,
    )
    if last is None:
        return 0
    freed = await session.value(
        "WITH gone AS (DELETE FROM trace_rows WHERE id <= $1 RETURNING size)"
        " SELECT sum(size)::bigint FROM gone",
        last,
    )
    await session.execute(
        "DELETE FROM traces t WHERE ended_at < $1 OR (ended_at <= coalesce("
        " (SELECT at FROM trace_rows ORDER BY id LIMIT 1), 9e18) AND NOT EXISTS"
        " (SELECT 1 FROM trace_rows r WHERE r.trace_id = t.trace_id))",
        before,
    )
    return cast("int", freed)


async def _page(session: Session, wanted: TraceFilter) -> list[TraceSummary]:
    actor = _storable(wanted.actor) if wanted.actor is not None else None
    rows = await session.rows(
        _PAGE,
        wanted.task_id,
        wanted.since,
        wanted.until,
        wanted.before,
        wanted.slow_us,
        wanted.errors,
        actor,
        _last_name(actor or ""),
        wanted.message_type,
        wanted.limit,
    )
    return [msgspec.convert(row, TraceSummary) for row in rows]


async def _trace(session: Session, trace_id: str) -> list[TraceRow]:
    return await _rows(session, "trace_id = $1 ORDER BY at, id LIMIT $2", trace_id, MOST_ROWS)


async def _since(session: Session, last: int) -> tuple[int, list[TraceRow]]:
    if last < 0:
        newest = await session.value("SELECT coalesce(max(id), 0) FROM trace_rows")
        return cast("int", newest), []
    found = await session.rows(
        f"SELECT id, {_ROW} FROM trace_rows WHERE id > $1 ORDER BY id LIMIT $2",
        last,
        _FOLLOWED_AT_ONCE,
    )
    if found:
        last = cast("int", found[-1]["id"])
    return last, [msgspec.convert(row, TraceRow) for row in found]


async def _why(session: Session, target: str) -> Why:
    subject = (
        await _of_trace(session, target)
        or await _of_span(session, target)
        or await _of_actor(session, target)
        or await _of_user(session, target)
    )
    if subject is None:
        names = "an actor, an Engine or its user, or the id of a trace or a span"
        raise unknown_target(target, names)
    return Causes(await _with_crashes(session, subject.rows)).explain(subject.row)


async def _with_crashes(session: Session, rows: Sequence[TraceRow]) -> list[TraceRow]:
    """The rows, and the crashes in other traces that took messages of these with them."""
    found = list(rows)
    for path, incarnation in lives_lost(rows)[:_OTHER_CRASHES]:
        named = _NAMED.format(name="$2", path="$1")
        where = f"{named} AND incarnation = $3 AND kind = 'crash' LIMIT 1"
        for crash in await _rows(session, where, path, _last_name(path), incarnation):
            found += await _trace(session, crash.trace_id)
    return found


async def _of_trace(session: Session, target: str) -> Subject | None:
    rows = await _trace(session, target) if TRACE_ID.fullmatch(target) else []
    return beginning(rows) if rows else None


async def _of_span(session: Session, target: str) -> Subject | None:
    if not SPAN_ID.fullmatch(target):
        return None
    found = await _rows(session, "span_id = $1 LIMIT 1", target)
    return Subject(found[0], await _trace(session, found[0].trace_id)) if found else None


async def _of_actor(session: Session, target: str) -> Subject | None:
    """The last failure of an actor, or else what it did last."""
    named = _NAMED.format(name="$2", path="$1")
    for where in (f"{named} AND failed", named):
        latest = f"{where} ORDER BY id DESC LIMIT 20"
        found = await _rows(session, latest, target, _last_name(target))
        if found:
            newest = worst([row for row in found if row.trace_id == found[0].trace_id])
            return Subject(newest, await _trace(session, newest.trace_id))
    return None


async def _of_user(session: Session, target: str) -> Subject | None:
    """An Engine's actor is called by the Engine's id."""
    engine = await session.value(
        "SELECT id FROM engines WHERE user_id = $1 ORDER BY created_at LIMIT 1", target
    )
    return await _of_actor(session, str(engine)) if engine is not None else None


async def _rows(session: Session, where: str, *values: object) -> list[TraceRow]:
    found = await session.rows(f"SELECT {_ROW} FROM trace_rows WHERE {where}", *values)
    return [msgspec.convert(row, TraceRow) for row in found]


def _last_name(path: str) -> str:
    return re.split("[/ ]", path)[-1]
