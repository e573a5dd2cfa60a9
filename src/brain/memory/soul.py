"""The soul: who the assistant is; the catalog's template, and what has grown from it."""

from hashlib import sha256

import msgspec

from ..catalog import Soul
from ..store.connection import Connection
from .episodes import Origin
from .social import cited


class SoulEntry(msgspec.Struct, frozen=True):
    """One thing the soul has taken up. `retired_at` is set when it was given up; milliseconds."""

    id: str
    part: str
    text: str
    source: str
    created_at: int
    retired_at: int | None


def history(connection: Connection) -> tuple[SoulEntry, ...]:
    """Everything the soul ever took up, oldest first."""
    rows = connection.execute(
        "SELECT id, part, text, source, created_at, retired_at FROM soul_entries"
        " ORDER BY created_at, id"
    )
    return tuple(SoulEntry(*row) for row in rows)


def current(connection: Connection, template: Soul) -> Soul:
    """The template with what is in force now; a learned identity takes the template's place."""
    held = [entry for entry in history(connection) if entry.retired_at is None]
    identities = [entry.text for entry in held if entry.part == "identity"]
    return msgspec.structs.replace(
        template,
        identity=identities[-1] if identities else template.identity,
        values=_with(template.values, held, "value"),
        patterns=_with(template.patterns, held, "pattern"),
    )


def adopt(
    connection: Connection,
    part: str,
    text: str,
    *,
    now: int,
    source: str,
    origin: Origin | None = None,
) -> str:
    """Take up a value or pattern; the same text twice is one entry. Return its id."""
    entry_id = f"soul-{sha256(msgspec.json.encode((part, text))).hexdigest()[:32]}"
    connection.execute(
        "INSERT INTO soul_entries (id, part, text, source, created_at, trajectory_id, trace_id,"
        " pass_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET retired_at = NULL, pass_id = excluded.pass_id"
        " WHERE retired_at IS NOT NULL",
        (entry_id, part, text, source, now, *cited(origin)),
    )
    return entry_id


def _with(template: tuple[str, ...], held: list[SoulEntry], part: str) -> tuple[str, ...]:
    grown = [entry.text for entry in held if entry.part == part]
    return tuple(dict.fromkeys((*template, *grown)))
