"""Keeping rotated keys in the brain, as hashes."""

from functools import partial

import msgspec

from ..brain.store.connection import Connection
from ..brain.store.database import Database
from .port import KeyState

_KEY = "engine_keys"


async def load_keys(database: Database) -> KeyState | None:
    """The keys of the last rotation; None when there was none."""
    stored = await database.read(_read)
    return msgspec.json.decode(stored, type=KeyState) if stored is not None else None


async def save_keys(database: Database, keys: KeyState) -> None:
    """Keep the keys; returns when they are durable."""
    await database.write(partial(_write, value=msgspec.json.encode(keys).decode()))


def _read(connection: Connection) -> str | None:
    found = connection.execute("SELECT value FROM brain_meta WHERE key = ?", (_KEY,)).fetchone()
    return found[0] if found else None


def _write(connection: Connection, value: str) -> None:
    connection.execute(
        "INSERT INTO brain_meta (key, value) VALUES (?, ?)"
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (_KEY, value),
    )
