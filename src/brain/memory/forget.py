"""Forgetting: a row leaves every index and stays as a tombstone."""

from typing import Final

from msgspec import Struct

from ...errors import SeptemberError
from ..store.connection import Connection

_TABLES: Final = {
    "ep": ("episodes", "episodes"),
    "kn": ("knowledge", "knowledge_store"),
    "node": ("social", "social_graph_nodes"),
    "edge": ("social", "social_graph_edges"),
}


class Forgotten(Struct, frozen=True):
    """A memory that no search finds any more. `forgotten_at` is milliseconds (UTC)."""

    store: str
    id: str
    forgotten_at: int


def forget(connection: Connection, memory_id: str, now: int) -> Forgotten:
    """Forget one memory by its id; doing it twice keeps the first time. Raises NOT_FOUND."""
    for store, table in _candidates(memory_id):
        connection.execute(
            f"UPDATE {table} SET forgotten_at = ? WHERE id = ? AND forgotten_at IS NULL",
            (now, memory_id),
        )
        row = connection.execute(
            f"SELECT forgotten_at FROM {table} WHERE id = ?", (memory_id,)
        ).fetchone()
        if row is not None:
            return Forgotten(store, memory_id, int(row[0]))
    raise SeptemberError(
        "NOT_FOUND",
        f"id: there is no memory {memory_id!r}; a search shows the ids of what it finds",
        {"field": "id", "id": memory_id},
    )


def _candidates(memory_id: str) -> tuple[tuple[str, str], ...]:
    """The table the id's prefix names; any of them for an id that was imported."""
    named = _TABLES.get(memory_id.partition("-")[0])
    return (named,) if named else tuple(_TABLES.values())
