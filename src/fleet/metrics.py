"""Every figure and metric of the fleet, read from rows and the audit log.

The naming rule: `fleet_` and what is counted or measured, then the unit (`seconds`) where there is
one; counters end in `_total` (https://prometheus.io/docs/practices/naming/). A label has few
values, which this code knows. Counters are counts of the audit log, so every orchestrator says the
same and a restart forgets nothing; pruning the log is to Prometheus a counter that begins anew.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, cast
from uuid import UUID

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

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
    total_crashes: int
    total_restarts: int


async def figures(session: Session, product: UUID | None = None) -> Figures:
    """Read them."""
    row = await session.row(
        "SELECT count(*) FILTER (WHERE action = 'provision' AND recent) AS provisions_1h,"
        " count(*) FILTER (WHERE action = 'health_failed' AND recent) AS crashes_1h,"
        " count(*) FILTER (WHERE action = 'auto_restart_success' AND recent) AS restarts_1h,"
        " count(*) FILTER (WHERE action = 'provision') AS total_provisions,"
        " count(*) FILTER (WHERE action = 'destroy') AS total_destroys,"
        " count(*) FILTER (WHERE action = 'health_failed') AS total_crashes,"
        " count(*) FILTER (WHERE action = 'auto_restart_success') AS total_restarts,"
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


async def open_metrics(
    session: Session, product: UUID | None, *, leads: bool, lost: int | None = None
) -> str:
    """The figures as OpenMetrics text; `lost` observations are the whole orchestrator's."""
    counts = await registry.count(session, product)
    found = await figures(session, product)
    exposed = CollectorRegistry()
    exposed.register(_Figures([*_families(counts, found), *_own(leads, lost)]))
    encode, _ = choose_encoder(CONTENT_TYPE)
    return encode(exposed).decode()


class _Figures(Collector):
    """Families that were made already."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def _families(counts: Mapping[Status, int], found: Figures) -> Iterator[Metric]:
    engines = GaugeMetricFamily("fleet_engines", "Engines by state.", labels=("status",))
    for status in Status:
        engines.add_metric((status.value,), counts.get(status, 0))
    yield engines
    for name, value, what in (
        ("fleet_provisions", found.total_provisions, "Provisions in the audit log."),
        ("fleet_destroys", found.total_destroys, "Destroys in the audit log."),
        ("fleet_crashes", found.total_crashes, "Running Engines that were found ill."),
        ("fleet_restarts", found.total_restarts, "Restarts after which an Engine was well."),
    ):
        yield CounterMetricFamily(name, what, value=value)
    seconds = (found.average_boot_ms or 0) / 1000
    yield GaugeMetricFamily("fleet_boot_average_seconds", "Of the Engines there are.", seconds)


def _own(leads: bool, lost: int | None) -> Iterator[Metric]:
    yield GaugeMetricFamily("fleet_leads", "1 if this orchestrator makes the rounds.", int(leads))
    if lost is not None:
        what = "Observations that this orchestrator could not keep."
        yield CounterMetricFamily("fleet_trace_lost", what, value=lost)
