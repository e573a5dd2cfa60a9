"""Episodes: what happened, as it is remembered."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from ..store.connection import Connection

_COLUMNS: Final = "e.id, e.key, e.description, e.value, e.source, e.occurred_at, e.created_at"


class Episode(msgspec.Struct, frozen=True):
    """One remembered event. `source` says where it comes from; times are milliseconds (UTC)."""

    id: str
    key: str
    description: str
    value: str
    source: str
    occurred_at: int
    created_at: int


class Line(NamedTuple):
    """What ranking looks at. `rowid` says what was written before and after it."""

    rowid: int
    key: str
    description: str
    value: str
    occurred_at: int


READ: Final = 20_000
"""Characters of a value that ranking looks at; the keyword index has them all."""


class Origin(msgspec.Struct, frozen=True):
    """What a learned row cites: the finished turn, its trace, and the pass that drew it."""

    trajectory_id: str
    trace_id: str
    pass_id: str


def episode_of(
    key: str,
    description: str,
    value: str,
    *,
    now: int,
    occurred_at: int | None = None,
    source: str = "user",
) -> Episode:
    """An episode whose id follows from what it says: the same event twice is one row."""
    said = msgspec.json.encode((key, description, value, source, occurred_at))
    return Episode(
        id=f"ep-{sha256(said).hexdigest()[:32]}",
        key=key,
        description=description,
        value=value,
        source=source,
        occurred_at=now if occurred_at is None else occurred_at,
        created_at=now,
    )


def write(connection: Connection, episode: Episode, origin: Origin | None = None) -> None:
    """Remember it. The same id again changes nothing, but brings back what was forgotten."""
    write_many(connection, (episode,), origin)


def write_many(
    connection: Connection, episodes: Sequence[Episode], origin: Origin | None = None
) -> None:
    """Remember them in this order, which says what came before what."""
    cited = (
        (origin.trajectory_id, origin.trace_id, origin.pass_id) if origin else (None, None, None)
    )
    connection.executemany(
        "INSERT INTO episodes (id, key, description, value, source, occurred_at, created_at,"
        " trajectory_id, trace_id, pass_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET forgotten_at = NULL, pass_id = excluded.pass_id"
        " WHERE forgotten_at IS NOT NULL",
        [
            (
                *(one.id, one.key, one.description, one.value),
                *(one.source, one.occurred_at, one.created_at, *cited),
            )
            for one in episodes
        ],
    )


def lines(connection: Connection, rowids: Iterable[int]) -> list[Line]:
    """What ranking looks at of those of these rows that are there and not forgotten, by rowid."""
    rows = connection.execute(
        f"SELECT rowid, key, description, substr(value, 1, {READ}), occurred_at FROM episodes"
        " WHERE rowid IN (SELECT value FROM json_each(?)) AND forgotten_at IS NULL"
        " ORDER BY rowid",
        (msgspec.json.encode(list(rowids)).decode(),),
    )
    return list(map(Line._make, rows))


def by_rowid(connection: Connection, rowids: Sequence[int]) -> dict[int, Episode]:
    """The episodes of these rows that are not forgotten, in the order of writing."""
    rows = connection.execute(
        f"SELECT e.rowid, {_COLUMNS} FROM episodes AS e WHERE e.forgotten_at IS NULL"
        " AND e.rowid IN (SELECT value FROM json_each(?)) ORDER BY e.rowid",
        (msgspec.json.encode(list(rowids)).decode(),),
    )
    return {row[0]: Episode(*row[1:]) for row in rows}


def recent(connection: Connection, limit: int) -> tuple[Episode, ...]:
    """The episodes written last, newest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM episodes AS e WHERE e.forgotten_at IS NULL"
        " ORDER BY e.rowid DESC LIMIT ?",
        (limit,),
    )
    return tuple(Episode(*row) for row in rows)
