"""The audit log: what was done, by whom, to which Engine, in the transaction that did it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, cast
from uuid import UUID

import msgspec

from .instances import Engine
from .store.database import Row, Session

SYSTEM: Final = "system"
ADMIN: Final = "admin"
"""Actors that are no product; a product is named by its slug."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. `started_at` is its beginning; `duration_ms` how long it took.

    `metadata` never holds a key.
    """

    action: str
    actor: str = SYSTEM
    product_id: UUID | None = None
    user_id: str | None = None
    engine_id: UUID | None = None
    metadata: Mapping[str, object] = field(default_factory=dict[str, object])
    started_at: datetime | None = None
    duration_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """An entry as it is in the log."""

    id: int
    entry: Entry


def about(
    engine: Engine,
    action: str,
    metadata: Mapping[str, object] | None = None,
    *,
    actor: str = SYSTEM,
) -> Entry:
    """An entry about an Engine."""
    return Entry(
        action=action,
        actor=actor,
        product_id=engine.product_id,
        user_id=engine.user_id,
        engine_id=engine.id,
        metadata=metadata or {},
    )


async def record(session: Session, entry: Entry) -> None:
    """Write an entry, in the transaction of what it describes."""
    await session.execute(
        "INSERT INTO audit_log (timestamp, product_id, user_id, engine_id, action, actor,"
        " metadata, duration_ms) VALUES (coalesce($1, now()), $2, $3, $4, $5, $6, $7,"
        " coalesce($8, (extract(epoch FROM clock_timestamp() - $1) * 1000)::integer))",
        entry.started_at,
        entry.product_id,
        entry.user_id,
        entry.engine_id,
        entry.action,
        entry.actor,
        msgspec.json.encode(entry.metadata, enc_hook=str).decode(),
        entry.duration_ms,
    )


async def entries(
    session: Session,
    *,
    engine_id: UUID | None = None,
    user_id: str | None = None,
    action: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Recorded]:
    """The newest entries, newest first; `before` is the id to go on from."""
    rows = await session.rows(
        "SELECT * FROM audit_log WHERE ($1::uuid IS NULL OR engine_id = $1)"
        " AND ($2::text IS NULL OR user_id = $2) AND ($3::text IS NULL OR action = $3)"
        " AND ($4::bigint IS NULL OR id < $4) ORDER BY id DESC LIMIT $5",
        engine_id,
        user_id,
        action,
        before,
        limit,
    )
    return [_recorded(row) for row in rows]


async def prune(session: Session, older_than: datetime) -> int:
    """Delete what is older; returns how many entries that were."""
    return await session.execute("DELETE FROM audit_log WHERE timestamp < $1", older_than)


def _recorded(row: Row) -> Recorded:
    entry = Entry(
        action=cast("str", row["action"]),
        actor=cast("str", row["actor"]),
        product_id=cast("UUID | None", row["product_id"]),
        user_id=cast("str | None", row["user_id"]),
        engine_id=cast("UUID | None", row["engine_id"]),
        metadata=msgspec.json.decode(cast("str", row["metadata"]), type=dict[str, object]),
        started_at=cast("datetime", row["timestamp"]),
        duration_ms=cast("int | None", row["duration_ms"]),
    )
    return Recorded(cast("int", row["id"]), entry)
