"""The registry: rows of products and Engines, and nothing but rows.

Every change to an Engine names the generation it was made for. A change that finds another one
touches nothing and raises `Superseded`: somebody else has taken the Engine over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

import msgspec

from ..errors import SeptemberError
from .instances import Engine, Operation, Product, Status
from .keys import SealedKey
from .store.database import Row, Session

ALIVE_LOCK: Final = 0x5E97_A11
"""First half of the advisory lock that a living orchestrator holds; its number is the second."""

USE_NOTED_S: Final = 1.0
"""How late the use of an Engine may reach its row: far below any time after which it sleeps."""

_PROVISION_LOCK: Final = 0x5E97_9080
"""Under this lock Engines are counted and ports are allocated."""

_SELECT: Final = (
    "SELECT e.*, p.slug AS product, coalesce(a.port, 0) AS port FROM engines e"
    " JOIN products p ON p.id = e.product_id"
    " LEFT JOIN port_allocations a ON a.engine_id = e.id"
)
_OF_PRODUCT: Final = ("id", "slug", "display_name", "policy")
_CALLER: Final = (
    f"SELECT {', '.join(f'p.{name} AS of_{name}' for name in _OF_PRODUCT)},"
    " e.*, p.slug AS product, coalesce(a.port, 0) AS port FROM products p"
    " LEFT JOIN engines e ON e.product_id = p.id AND e.user_id = $2"
    " LEFT JOIN port_allocations a ON a.engine_id = e.id WHERE p.api_key_hash = $1"
)
_LATER: Final = "now() + make_interval(secs => ${})"
_COLUMNS: Final = frozenset(field.name for field in fields(Engine)) - {"product", "port"}

_UNCLAIMED: Final = (
    "CASE WHEN operation IS NULL OR claimed_by IS NULL OR claimed_by = {me} THEN true"
    " ELSE NOT EXISTS (SELECT 1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
    f"  WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.objsubid = 2"
    f"  AND l.classid = {ALIVE_LOCK} AND l.objid = claimed_by AND l.granted) END"
)
"""True when no living orchestrator but `me` has something under way for a row."""


class Superseded(Exception):
    """The row has moved on: this generation's word no longer counts."""


class PortsExhausted(SeptemberError):
    """No port of the range is free."""

    def __init__(self, ports: range) -> None:
        super().__init__(
            "PORT_EXHAUSTION",
            f"every port from {ports.start} to {ports.stop - 1} is taken; raise ORCH_PORT_MAX, or"
            " destroy Engines that nobody needs",
        )


@dataclass(frozen=True, slots=True)
class FromNow:
    """A time to be written: `seconds` from now by the database's clock.

    It is the one clock that all orchestrators of a fleet have in common.
    """

    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class NewEngine:
    """What a new row is made of."""

    id: UUID
    product_id: UUID
    user_id: str
    image: str
    key: SealedKey
    by: str


async def insert_product(session: Session, product: Product, key_hash: str) -> None:
    """Add a product. Raises UniqueViolation when its slug is taken."""
    await session.execute(
        "INSERT INTO products (id, slug, display_name, api_key_hash, policy)"
        " VALUES ($1, $2, $3, $4, $5)",
        product.id,
        product.slug,
        product.display_name,
        key_hash,
        msgspec.json.encode(product.policy).decode(),
    )


async def product_with_key(session: Session, key_hash: str) -> Product | None:
    """The product whose key has this hash."""
    row = await session.row("SELECT * FROM products WHERE api_key_hash = $1", key_hash)
    return _product(row) if row else None


async def caller(
    session: Session, key_hash: str, user_id: str
) -> tuple[Product, Engine | None] | None:
    """The product whose key has this hash and the Engine of its user, in one statement.

    An admit costs little else than what it asks the database, so it asks once.
    """
    row = await session.row(_CALLER, key_hash, user_id)
    if row is None:
        return None
    columns = dict(row)
    product = _product({name: columns.pop(f"of_{name}") for name in _OF_PRODUCT})
    return product, _engine(columns) if columns["id"] is not None else None


async def products(session: Session) -> list[Product]:
    """Every product, by slug."""
    return [_product(row) for row in await session.rows("SELECT * FROM products ORDER BY slug")]


async def set_policy(session: Session, product: UUID, policy: Mapping[str, object]) -> bool:
    """Replace a policy; False when there is no such product."""
    text = msgspec.json.encode(policy).decode()
    touched = await session.execute("UPDATE products SET policy = $2 WHERE id = $1", product, text)
    return touched == 1


async def insert_engine(
    session: Session, new: NewEngine, number: int, ports: range, quota: int | None
) -> Engine | None:
    """Add a row with its port, claimed by orchestrator `number`; None beyond the quota.

    To be called in a transaction, which is to be rolled back after a None. Raises UniqueViolation
    when the user has an Engine, PortsExhausted.
    """
    await session.execute("SELECT pg_advisory_xact_lock($1)", _PROVISION_LOCK)
    await session.execute(
        "INSERT INTO engines (id, product_id, user_id, status, image, engine_key_hash,"
        " engine_key_enc, operation, operation_by, operation_started_at, claimed_by)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, clock_timestamp(), $10)",
        new.id,
        new.product_id,
        new.user_id,
        Status.PROVISIONING,
        new.image,
        new.key.hash,
        new.key.sealed,
        Operation.PROVISION,
        new.by,
        number,
    )
    if quota is not None and await _owned(session, new.product_id) > quota:
        return None
    await _allocate(session, new.id, ports, avoid=())
    return await engine(session, new.id)


async def move_port(session: Session, engine_id: UUID, ports: range, avoid: Sequence[int]) -> int:
    """Give an Engine another port. Raises PortsExhausted."""
    await session.execute("SELECT pg_advisory_xact_lock($1)", _PROVISION_LOCK)
    await session.execute("DELETE FROM port_allocations WHERE engine_id = $1", engine_id)
    return await _allocate(session, engine_id, ports, avoid)


async def engine(session: Session, engine_id: UUID) -> Engine | None:
    """The row of an Engine."""
    row = await session.row(f"{_SELECT} WHERE e.id = $1", engine_id)
    return _engine(row) if row else None


async def engine_of(session: Session, product: UUID, user_id: str) -> Engine | None:
    """The row of a user's Engine."""
    row = await session.row(f"{_SELECT} WHERE product_id = $1 AND user_id = $2", product, user_id)
    return _engine(row) if row else None


async def engines(
    session: Session,
    *,
    product: UUID | None = None,
    status: Status | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> list[Engine]:
    """Rows of Engines, oldest first."""
    rows = await session.rows(
        f"{_SELECT} WHERE ($1::uuid IS NULL OR product_id = $1)"
        " AND ($2::text IS NULL OR status = $2) ORDER BY e.created_at, e.id LIMIT $3 OFFSET $4",
        product,
        status,
        limit,
        offset,
    )
    return [_engine(row) for row in rows]


async def count(session: Session, product: UUID | None = None) -> dict[Status, int]:
    """How many Engines are in each state."""
    rows = await session.rows(
        "SELECT status, count(*) AS n FROM engines WHERE ($1::uuid IS NULL OR product_id = $1)"
        " GROUP BY status",
        product,
    )
    return {Status(cast("str", row["status"])): cast("int", row["n"]) for row in rows}


async def claim(
    session: Session, current: Engine, operation: Operation, by: str, number: int
) -> Engine | None:
    """Write the intent to do `operation` to `current`, and raise its generation.

    Taking up an operation that is under way keeps who asked for it and when. None when the row
    has moved on or a living orchestrator has it.
    """
    going_on = current.operation is operation
    status = Status.DESTROYING if operation is Operation.DESTROY else current.status
    touched = await session.execute(
        "UPDATE engines SET generation = generation + 1, status = $3, operation = $4,"
        " operation_by = $5, claimed_by = $6,"
        " operation_started_at = coalesce($7, clock_timestamp())"
        f" WHERE id = $1 AND generation = $2 AND {_UNCLAIMED.format(me='$6')}",
        current.id,
        current.generation,
        status,
        operation,
        (current.operation_by if going_on else None) or by,
        number,
        current.operation_started_at if going_on else None,
    )
    return await engine(session, current.id) if touched else None


async def change(session: Session, held: Engine, columns: Mapping[str, object]) -> None:
    """Change columns of a row that is still of the generation held. Raises Superseded.

    A value may be FromNow.
    """
    if not columns.keys() <= _COLUMNS:
        raise ValueError(f"no columns of engines: {columns.keys() - _COLUMNS}")
    sets = ", ".join(
        f"{name} = {_LATER.format(at) if isinstance(value, FromNow) else f'${at}'}"
        for at, (name, value) in enumerate(columns.items(), start=3)
    )
    touched = await session.execute(
        f"UPDATE engines SET {sets} WHERE id = $1 AND generation = $2",
        held.id,
        held.generation,
        *(one.seconds if isinstance(one, FromNow) else one for one in columns.values()),
    )
    if not touched:
        raise Superseded


async def finish(session: Session, held: Engine, columns: Mapping[str, object]) -> None:
    """Change columns, and end what is under way. Raises Superseded."""
    done: dict[str, object] = {
        "operation": None,
        "operation_by": None,
        "operation_started_at": None,
        "claimed_by": None,
    }
    await change(session, held, {**done, **columns})


async def delete(session: Session, held: Engine) -> None:
    """Remove a row and with it its port. Raises Superseded."""
    touched = await session.execute(
        "DELETE FROM engines WHERE id = $1 AND generation = $2", held.id, held.generation
    )
    if not touched:
        raise Superseded


async def note_used(session: Session, engine_ids: Sequence[UUID]) -> None:
    """Note that these were handed out just now."""
    await session.execute(
        "UPDATE engines SET last_used_at = now() WHERE id = ANY($1::uuid[])", engine_ids
    )


async def note_healthy(
    session: Session,
    healthy: Sequence[tuple[UUID, int, datetime | None]],
    settled_after: float,
) -> None:
    """Note good probes: id, generation and the time at which the Engine wants to be awake.

    An Engine that has run well for `settled_after` seconds has its restarts forgiven.
    """
    await session.execute(
        "UPDATE engines e SET health_failures = 0, last_health_at = now(), next_wake_at = h.wake,"
        " restart_attempts = CASE WHEN running_since < now() - make_interval(secs => $4)"
        "  THEN 0 ELSE restart_attempts END"
        " FROM unnest($1::uuid[], $2::bigint[], $3::timestamptz[]) AS h (id, generation, wake)"
        " WHERE e.id = h.id AND e.generation = h.generation",
        [one[0] for one in healthy],
        [one[1] for one in healthy],
        [one[2] for one in healthy],
        settled_after,
    )


async def note_unhealthy(session: Session, probed: Engine) -> int:
    """Note a bad probe; returns how many there were in a row, 0 if the row has moved on."""
    failures = await session.value(
        "UPDATE engines SET health_failures = health_failures + 1"
        " WHERE id = $1 AND generation = $2 AND status = 'running' RETURNING health_failures",
        probed.id,
        probed.generation,
    )
    return cast("int | None", failures) or 0


async def due_for_restart(session: Session) -> list[UUID]:
    """Failed Engines whose wait is over."""
    rows = await session.rows(
        "SELECT id FROM engines WHERE status = 'failed' AND next_restart_at <= now()"
        " AND operation IS NULL ORDER BY next_restart_at"
    )
    return [cast("UUID", row["id"]) for row in rows]


async def due_for_waking(session: Session, within: float) -> list[UUID]:
    """Sleeping Engines that want to be awake in at most `within` seconds."""
    rows = await session.rows(
        "SELECT id FROM engines WHERE status = 'sleeping' AND operation IS NULL"
        " AND next_wake_at <= now() + make_interval(secs => $1)",
        within,
    )
    return [cast("UUID", row["id"]) for row in rows]


async def unfinished(session: Session, number: int) -> list[UUID]:
    """Engines for which something is under way that no other living orchestrator sees to."""
    rows = await session.rows(
        f"SELECT id FROM engines WHERE operation IS NOT NULL AND {_UNCLAIMED.format(me='$1')}",
        number,
    )
    return [cast("UUID", row["id"]) for row in rows]


async def reseal(session: Session, keys: Sequence[tuple[str, str, UUID]]) -> int:
    """Replace sealed keys, each `(old, new, engine)`, where they are still the old ones."""
    return await session.execute(
        "UPDATE engines e SET engine_key_enc = k.new"
        " FROM unnest($1::text[], $2::text[], $3::uuid[]) AS k (old, new, id)"
        " WHERE e.id = k.id AND e.engine_key_enc = k.old",
        [old for old, _, _ in keys],
        [new for _, new, _ in keys],
        [engine_id for _, _, engine_id in keys],
    )


async def _owned(session: Session, product: UUID) -> int:
    value = await session.value(
        "SELECT count(*) FROM engines WHERE product_id = $1 AND status <> 'destroying'", product
    )
    return cast("int", value)


async def _allocate(session: Session, engine_id: UUID, ports: range, avoid: Sequence[int]) -> int:
    port = await session.value(
        "INSERT INTO port_allocations (port, engine_id)"
        " SELECT p, $1 FROM generate_series($2::integer, $3::integer) p WHERE p <> ALL($4)"
        " AND NOT EXISTS (SELECT 1 FROM port_allocations a WHERE a.port = p)"
        " ORDER BY p LIMIT 1 RETURNING port",
        engine_id,
        ports.start,
        ports.stop - 1,
        list(avoid),
    )
    if port is None:
        raise PortsExhausted(ports)
    return cast("int", port)


def _product(row: Row) -> Product:
    policy = msgspec.json.decode(cast("str", row["policy"]), type=dict[str, object])
    return Product(
        cast("UUID", row["id"]), cast("str", row["slug"]), cast("str", row["display_name"]), policy
    )


def _engine(row: Row) -> Engine:
    values = cast("dict[str, Any]", dict(row))  # the schema knows the types of columns
    values["status"] = Status(values["status"])
    if values["operation"] is not None:
        values["operation"] = Operation(values["operation"])
    return Engine(**values)
