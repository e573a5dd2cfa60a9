"""Knowledge: facts with a confidence and the time they hold."""

from enum import Enum
from hashlib import sha256
from typing import Final

import msgspec
from msgspec.structs import replace

from ..store.connection import Connection
from .contradiction import contradicts, same
from .episodes import Origin
from .recall import fts_query

HALF_LIFE_MS: Final = 365 * 86_400_000
"""Time after which an unconfirmed fact is half as sure as when it was last told."""

_COLUMNS: Final = (
    "k.id, k.subject, k.content, k.type, k.confidence, k.source, k.valid_from, k.valid_until,"
    " k.created_at"
)


class Fact(msgspec.Struct, frozen=True):
    """One thing that is known. `confidence` is 0..1; `source` cites where it was learned.

    It holds from `valid_from` until before `valid_until` (milliseconds, UTC); None: it still does.
    """

    id: str
    subject: str
    content: str
    type: str
    confidence: float
    source: str
    valid_from: int
    valid_until: int | None
    created_at: int


class Outcome(Enum):
    """What became of a fact that was told."""

    ADDED = "added"
    CONFIRMED = "confirmed"
    SUPERSEDED = "superseded"  # an older fact was closed for it
    OUTDATED = "outdated"  # a newer fact is in force; it was added as history


class Told(msgspec.Struct, frozen=True):
    """The row that now holds a fact, and the rows that were closed for it."""

    id: str
    outcome: Outcome
    closed: tuple[str, ...] = ()


def fact_of(
    subject: str,
    content: str,
    *,
    now: int,
    kind: str = "fact",
    confidence: float = 0.8,
    source: str = "user",
    valid_from: int | None = None,
    valid_until: int | None = None,
) -> Fact:
    """A fact that has no row yet; its id is given when it is told."""
    begins = now if valid_from is None else valid_from
    return Fact("", subject, content, kind, confidence, source, begins, valid_until, now)


def tell(connection: Connection, fact: Fact, origin: Origin | None = None) -> Told:
    """Learn a fact: confirm the row that says the same, close the rows it contradicts, or add it.

    Nothing is deleted. A fact that began before one it contradicts is history from the start.
    """
    rivals: list[Fact] = []
    for known in in_force(connection, fact.subject):
        if same(known.content, fact.content):
            _confirm(connection, known, fact)
            return Told(known.id, Outcome.CONFIRMED)
        if contradicts(known.content, fact.content):
            rivals.append(known)
    newer = [known for known in rivals if known.valid_from > fact.valid_from]
    outdated = bool(newer) and fact.valid_until is None
    if outdated:
        fact = replace(fact, valid_until=min(known.valid_from for known in newer))
    stored = replace(fact, id=_identity(connection, fact))
    add(connection, stored, origin)
    closed = () if newer else tuple(_close(connection, known, stored, origin) for known in rivals)
    if outdated:
        return Told(stored.id, Outcome.OUTDATED)
    return Told(stored.id, Outcome.SUPERSEDED if closed else Outcome.ADDED, closed)


def add(connection: Connection, fact: Fact, origin: Origin | None = None) -> None:
    """Know it, whatever else is known. Adding the same id again changes nothing."""
    cited = (
        (origin.trajectory_id, origin.trace_id, origin.pass_id) if origin else (None, None, None)
    )
    connection.execute(
        "INSERT OR IGNORE INTO knowledge_store (id, subject, content, type, confidence, source,"
        " valid_from, valid_until, created_at, confirmed_at, trajectory_id, trace_id, pass_id)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(fact.id, fact.subject, fact.content, fact.type, fact.confidence, fact.source),
            *(fact.valid_from, fact.valid_until, fact.created_at, fact.created_at, *cited),
        ),
    )
    _cite(connection, fact.id, fact)


def in_force(connection: Connection, subject: str) -> tuple[Fact, ...]:
    """What is known of a subject and still holds, oldest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM knowledge_store AS k WHERE k.subject = ? COLLATE NOCASE"
        " AND k.valid_until IS NULL AND k.forgotten_at IS NULL ORDER BY k.rowid",
        (subject,),
    )
    return tuple(Fact(*row) for row in rows)


def by_rowid(
    connection: Connection, rowids: list[int], now: int, *, history: bool
) -> dict[int, Fact]:
    """The facts of these rows, confidences as of `now`; those that do not hold only as history."""
    rows = connection.execute(
        f"SELECT k.rowid, k.confirmed_at, {_COLUMNS} FROM knowledge_store AS k"
        " WHERE k.forgotten_at IS NULL AND k.rowid IN (SELECT value FROM json_each(?1))"
        " AND (?2 OR (k.valid_from <= ?3 AND (k.valid_until IS NULL OR k.valid_until > ?3)))",
        (msgspec.json.encode(rowids).decode(), history, now),
    )
    return {row[0]: _faded(Fact(*row[2:]), row[1], now) for row in rows}


def search(connection: Connection, query: str, limit: int, now: int) -> tuple[Fact, ...]:
    """The facts in force at `now` that share words with `query`, best match (bm25) first."""
    words = fts_query(query)
    if not words:
        return ()
    rows = connection.execute(
        f"SELECT k.confirmed_at, {_COLUMNS} FROM knowledge_fts"
        " JOIN knowledge_store AS k ON k.rowid = knowledge_fts.rowid"
        " WHERE knowledge_fts MATCH ?1 AND k.valid_from <= ?2"
        " AND (k.valid_until IS NULL OR k.valid_until > ?2)"
        " ORDER BY bm25(knowledge_fts), k.rowid DESC LIMIT ?3",
        (words, now, limit),
    )
    return tuple(_faded(Fact(*row[1:]), row[0], now) for row in rows)


def _faded(fact: Fact, confirmed_at: int, now: int) -> Fact:
    share = 0.5 ** (max(now - confirmed_at, 0) / HALF_LIFE_MS)
    return replace(fact, confidence=round(fact.confidence * share, 4))


def _confirm(connection: Connection, known: Fact, told: Fact) -> None:
    """Being told again from another source makes a fact surer; from the same one it does not."""
    if _cite(connection, known.id, told):
        sure = 1 - (1 - known.confidence) * (1 - told.confidence)
        connection.execute(
            "UPDATE knowledge_store SET confidence = ? WHERE id = ?",
            (min(sure, 0.99) if sure < 1 else sure, known.id),
        )
    connection.execute(
        "UPDATE knowledge_store SET confirmed_at = max(confirmed_at, ?) WHERE id = ?",
        (told.created_at, known.id),
    )


def _cite(connection: Connection, fact_id: str, told: Fact) -> bool:
    connection.execute(
        "INSERT OR IGNORE INTO knowledge_sources (knowledge_id, source, added_at) VALUES (?, ?, ?)",
        (fact_id, told.source, told.created_at),
    )
    return connection.changes() > 0


def _close(connection: Connection, known: Fact, by: Fact, origin: Origin | None) -> str:
    connection.execute(
        "UPDATE knowledge_store SET valid_until = ?, superseded_by = ? WHERE id = ?",
        (max(by.valid_from, known.valid_from), by.id, known.id),
    )
    if origin is not None:
        connection.execute(
            "INSERT OR IGNORE INTO learning_closures (pass_id, knowledge_id) VALUES (?, ?)",
            (origin.pass_id, known.id),
        )
    return known.id


def _identity(connection: Connection, fact: Fact) -> str:
    """The same fact, after having been out of force, is a new row: the count tells them apart."""
    found = connection.execute(
        "SELECT count(*) FROM knowledge_store WHERE subject = ? COLLATE NOCASE AND content = ?",
        (fact.subject, fact.content),
    ).fetchone()
    said = msgspec.json.encode((fact.subject.lower(), fact.content, found and found[0]))
    return f"kn-{sha256(said).hexdigest()[:32]}"
