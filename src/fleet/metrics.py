"""Figures of the fleet, read from rows and the audit log: nothing is counted twice or forgotten."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, cast
from uuid import UUID

from . import registry
from .instances import Status
from .store.database import Session

CRITICAL_SHARE: Final = 0.2
"""Share of failed Engines from which a fleet is critical (contract, section 20.7)."""

CONTENT_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Figures:
    """What happened, of one product or of all. `average_boot_ms` is of Engines that there are."""

    provisions_1h: int
    crashes_1h: int
    restarts_1h: int
    average_boot_ms: float | None
    total_provisions: int
    total_destroys: int


async def figures(session: Session, product: UUID | None = None) -> Figures:
    """Read them."""
    row = await session.row(
        "SELECT count(*) FILTER (WHERE action = 'provision' AND recent) AS provisions_1h,"
        " count(*) FILTER (WHERE action = 'health_failed' AND recent) AS crashes_1h,"
        " count(*) FILTER (WHERE action = 'auto_restart_success' AND recent) AS restarts_1h,"
        " count(*) FILTER (WHERE action = 'provision') AS total_provisions,"
        " count(*) FILTER (WHERE action = 'destroy') AS total_destroys,"
        " (SELECT avg(boot_duration_ms)::float8 FROM engines"
        "  WHERE $1::uuid IS NULL OR product_id = $1) AS average_boot_ms"
        " FROM (SELECT action, timestamp > now() - interval '1 hour' AS recent FROM audit_log"
        "  WHERE action = ANY ('{provision,health_failed,auto_restart_success,destroy}')"
        "  AND ($1::uuid IS NULL OR product_id = $1)) AS counted",
        product,
    )
    assert row is not None  # an aggregate always has its row
    return Figures(**cast("dict[str, int]", dict(row)))


def health_of(counts: Mapping[Status, int]) -> str:
    """ok, degraded or critical."""
    failed, total = counts.get(Status.FAILED, 0), sum(counts.values())
    if not failed:
        return "ok"
    return "critical" if failed >= CRITICAL_SHARE * total else "degraded"


async def open_metrics(session: Session, product: UUID | None, *, leads: bool) -> str:
    """The figures as OpenMetrics text."""
    counts = await registry.count(session, product)
    return "\n".join([*_lines(counts, await figures(session, product), leads), "# EOF", ""])


def _lines(counts: Mapping[Status, int], found: Figures, leads: bool) -> Iterator[str]:
    yield "# TYPE september_engines gauge"
    yield "# HELP september_engines Engines by state."
    for status in Status:
        yield f'september_engines{{status="{status.value}"}} {counts.get(status, 0)}'
    yield "# TYPE september_provisions counter"
    yield f"september_provisions_total {found.total_provisions}"
    yield "# TYPE september_destroys counter"
    yield f"september_destroys_total {found.total_destroys}"
    for name, value in (
        ("provisions_1h", found.provisions_1h),
        ("crashes_1h", found.crashes_1h),
        ("restarts_1h", found.restarts_1h),
        ("boot_seconds_average", round((found.average_boot_ms or 0) / 1000, 3)),
        ("orchestrator_leads", int(leads)),
    ):
        yield f"# TYPE september_{name} gauge"
        yield f"september_{name} {value}"
