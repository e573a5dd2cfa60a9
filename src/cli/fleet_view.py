"""How the fleet's rows are shown to a person: tables, states in colour, times as ages."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from rich.text import Text

from .fleet_client import Backups, Entry, Row
from .listing import Column, Listing
from .terminal import printable

_STYLES: Final = {
    "running": "green",
    "sleeping": "cyan",
    "stopped": "dim",
    "provisioning": "yellow",
    "destroying": "yellow",
    "failed": "bold red",
}

STATES: Final = tuple(_STYLES)
"""The states of an Engine, as the orchestrator names them."""


def engines_table(rows: Iterable[Row], wanted: str | None = None) -> Listing:
    """Engines below each other, and under them how many are in which state.

    `wanted` is the state that was asked for, if one was.
    """
    listed, counts, now = _engines(), Counter[str](), datetime.now(UTC)
    for row in rows:
        counts[row.status] += 1
        listed.add_row(
            printable(row.user_id),
            Text(row.status, style=_STYLES.get(row.status, "")),
            row.product or "",
            printable(row.engine_version),
            row.url or "",
            _ago(row.last_health_at, now),
            printable(row.failure or ""),
        )
    listed.note = _tally(counts, wanted)
    return listed


def audit_table(entries: Iterable[Entry], *, head: bool = True) -> Listing:
    """Entries of the audit log, one a line."""
    rows = Listing(
        Column("id", right=True, least=5),
        "time",
        Column("user", least=8),
        Column("action", least=15),
        Column("by", optional=True, least=8),
        Column("took", right=True, optional=True, least=6),
        Column("more", fold=True),
        head=head,
    )
    for entry in entries:
        took = "" if entry.duration_ms is None else _seconds(entry.duration_ms)
        more = ", ".join(f"{name}={value}" for name, value in entry.metadata.items())
        at = entry.timestamp[:19].replace("T", " ")
        cells = (at, entry.user_id or "", entry.action, entry.actor, took, more)
        rows.add_row(str(entry.id), *(printable(cell) for cell in cells))
    if not rows.rows:
        rows.note = "no entry fits"
    return rows


def backups_table(there: Backups) -> Listing:
    """Copies of a brain below each other, and below them how long they stay."""
    rows = Listing("name", Column("MiB", right=True), Column("file", fold=True))
    bounds = [f"the newest {there.keep} of each user"] if there.keep else []
    if there.max_age_s:
        bounds.append(f"for {there.max_age_s / 86_400:g} days")
    rows.note = f"kept: {', '.join(bounds) or 'all'}; the newest always"
    for one in there.backups:
        rows.add_row(one.name, f"{one.size / 2**20:.1f}", printable(one.path))
    if not rows.rows:
        rows.note = "no backup yet; september fleet backup USER makes one"
    return rows


def _tally(counts: Counter[str], wanted: str | None) -> str:
    if not counts and wanted:
        return f"no Engine is {wanted}"
    if not counts:
        return "no Engine yet; september fleet provision USER makes one"
    states = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
    return f"{counts.total()} in all: {states}"


def _engines() -> Listing:
    return Listing(
        "user",
        "status",
        "product",
        Column("image", optional=True),
        Column("url", optional=True),
        "healthy",
        Column("note", fold=True),
    )


def _ago(time: str | None, now: datetime) -> str:
    """How long ago that was; empty for never."""
    if time is None:
        return ""
    seconds = max(0, round((now - datetime.fromisoformat(time)).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.1f} s"
