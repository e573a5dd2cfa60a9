"""Connectors in the brain: servers, connections, actions, flows. Times are milliseconds."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Literal, TypeAlias

import msgspec

from ..clock import new_id, now_ms
from ..store.connection import Connection, Row
from .actions import Action
from .definitions import ServerDefinition

Status: TypeAlias = Literal["pending_oauth", "connected", "expired"]

FLOW_LIFE_MS: Final = 15 * 60 * 1000
"""How long a person may take to consent."""


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """A connection as it is stored. `version` is that of the credential."""

    ref_id: str
    definition: ServerDefinition
    status: Status
    scopes: tuple[str, ...]
    expires_at: int | None
    sealed: bytes | None = field(repr=False)
    version: int = 0


_SELECT: Final = (
    "SELECT c.ref_id, s.definition, c.status, c.scopes, c.expires_at, c.credentials, c.version"
    " FROM connections c JOIN server_registry s USING (server_name)"
)


def every(connection: Connection) -> tuple[ConnectionRow, ...]:
    """All connections, oldest first."""
    rows = connection.execute(f"{_SELECT} ORDER BY c.created_at, c.ref_id")
    return tuple(_row(row) for row in rows)


def one(connection: Connection, ref_id: str) -> ConnectionRow | None:
    """A connection by its id."""
    found = connection.execute(f"{_SELECT} WHERE c.ref_id = ?", (ref_id,)).fetchone()
    return _row(found) if found else None


def register(connection: Connection, definitions: Iterable[ServerDefinition], source: str) -> None:
    """Keep server definitions; the catalog's replace those of calls."""
    connection.executemany(
        "INSERT INTO server_registry (server_name, definition, source, updated_at)"
        " VALUES (?, ?, ?, ?) ON CONFLICT (server_name) DO UPDATE"
        " SET definition = excluded.definition, source = excluded.source,"
        " updated_at = excluded.updated_at",
        [(one.name, msgspec.json.encode(one).decode(), source, now_ms()) for one in definitions],
    )


def use_catalog(connection: Connection, definitions: Iterable[ServerDefinition]) -> None:
    """Make the registry hold the catalog's servers, and of the others those that are connected."""
    kept = tuple(definitions)
    connected = {row[0] for row in connection.execute("SELECT server_name FROM connections")}
    register(connection, [one for one in kept if one.name not in connected], "catalog")
    names = {one.name for one in kept} | connected
    for (name,) in connection.execute("SELECT server_name FROM server_registry").fetchall():
        if name not in names:
            connection.execute("DELETE FROM server_registry WHERE server_name = ?", (name,))


def connect(
    connection: Connection, definition: ServerDefinition, status: Status, sealed: bytes | None
) -> ConnectionRow:
    """Make the server's connection, or begin it anew under its old id."""
    register(connection, (definition,), "call")
    now = now_ms()
    connection.execute(
        "INSERT INTO connections (ref_id, server_name, status, credentials, created_at, updated_at)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (server_name) DO UPDATE SET"
        " status = excluded.status, credentials = excluded.credentials,"
        " version = version + 1, scopes = '[]', expires_at = NULL,"
        " updated_at = excluded.updated_at",
        (new_id("conn"), definition.name, status, sealed, now, now),
    )
    found = connection.execute(f"{_SELECT} WHERE c.server_name = ?", (definition.name,)).fetchone()
    assert found is not None
    return _row(found)


def disconnect(connection: Connection, ref_id: str) -> None:
    """Remove a connection, its actions, its flows and its credential."""
    connection.execute(
        "DELETE FROM action_registry WHERE server_name ="
        " (SELECT server_name FROM connections WHERE ref_id = ?)",
        (ref_id,),
    )
    connection.execute("DELETE FROM oauth_flows WHERE ref_id = ?", (ref_id,))
    connection.execute("DELETE FROM connections WHERE ref_id = ?", (ref_id,))


def swap(
    connection: Connection,
    ref_id: str,
    version: int,
    sealed: bytes,
    status: Status,
    scopes: tuple[str, ...],
    expires_at: int | None,
) -> bool:
    """Replace the credential if it is still of `version`; whether it was."""
    changed = connection.execute(
        "UPDATE connections SET credentials = ?, version = version + 1, status = ?, scopes = ?,"
        " expires_at = ?, updated_at = ? WHERE ref_id = ? AND version = ? RETURNING ref_id",
        (
            sealed, status, msgspec.json.encode(scopes).decode(), expires_at, now_ms(), ref_id,
            version,
        ),
    ).fetchone()  # fmt: skip
    return changed is not None


def expire(connection: Connection, ref_id: str, version: int) -> None:
    """A person has to consent again, unless the credential is not of `version` any more."""
    connection.execute(
        "UPDATE connections SET status = 'expired', updated_at = ?"
        " WHERE ref_id = ? AND version = ?",
        (now_ms(), ref_id, version),
    )


def keep_actions(connection: Connection, server: str, actions: tuple[Action, ...]) -> None:
    """What a server offers now."""
    connection.execute("DELETE FROM action_registry WHERE server_name = ?", (server,))
    connection.executemany(
        "INSERT OR REPLACE INTO action_registry (server_name, action, definition, updated_at)"
        " SELECT ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM connections WHERE server_name = ?)",
        [
            (server, one.name, msgspec.json.encode(one).decode(), now_ms(), server)
            for one in actions
        ],
    )


def kept_actions(connection: Connection) -> dict[str, tuple[Action, ...]]:
    """What each connected server offered when it was last asked."""
    found: dict[str, list[Action]] = {}
    rows = connection.execute("SELECT server_name, definition FROM action_registry ORDER BY rowid")
    for server, definition in rows:
        found.setdefault(server, []).append(msgspec.json.decode(definition, type=Action))
    return {server: tuple(actions) for server, actions in found.items()}


def begin_flow(connection: Connection, state: str, ref_id: str, sealed: bytes) -> None:
    """Keep an authorization until its callback; those that nobody finished go."""
    now = now_ms()
    connection.execute("DELETE FROM oauth_flows WHERE expires_at < ? OR ref_id = ?", (now, ref_id))
    connection.execute(
        "INSERT INTO oauth_flows (state_hash, ref_id, sealed, expires_at) VALUES (?, ?, ?, ?)",
        (_hash(state), ref_id, sealed, now + FLOW_LIFE_MS),
    )


def take_flow(connection: Connection, state: str) -> tuple[str, bytes] | None:
    """The flow that `state` belongs to: its connection and what was sealed. Only once."""
    taken = connection.execute(
        "DELETE FROM oauth_flows WHERE state_hash = ? AND expires_at >= ? RETURNING ref_id, sealed",
        (_hash(state), now_ms()),
    ).fetchone()
    return (str(taken[0]), bytes(taken[1])) if taken else None


def _hash(state: str) -> str:
    return sha256(state.encode(errors="replace")).hexdigest()


def _row(row: Row) -> ConnectionRow:
    definition = msgspec.json.decode(row[1], type=ServerDefinition)
    scopes = msgspec.json.decode(row[3], type=tuple[str, ...])
    return ConnectionRow(row[0], definition, row[2], scopes, row[4], row[5], row[6])
