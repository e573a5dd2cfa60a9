"""Sending rows to an OpenTelemetry collector, through the official SDK's exporters.

The SDK is an extra and loaded late. It reads the standard variables OTEL_* itself: headers,
certificates, compression, timeouts, resource attributes, sampler, interval of metrics.
"""

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ..errors import ConfigError
from .otlp_metrics import Meters
from .otlp_spans import SpanMaker
from .row import TraceRow

ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_PROTOCOL: Final = "OTEL_EXPORTER_OTLP_PROTOCOL"
_SPOKEN: Final = "http/protobuf"
_SIGNALS: Final = ("traces", "metrics")

_LAST_METRICS_MS: Final = 1_500
"""What the last metrics may take when the service stops."""


class Exporter(Protocol):
    """Where rows go. Both methods block and are called in a thread."""

    def export(self, rows: Sequence[TraceRow]) -> int:
        """Send rows; how many of them did not get through."""
        ...

    def close(self) -> None:
        """Send what is left and end the threads; an `export` that waits gives up."""
        ...


@dataclass(frozen=True, slots=True)
class Destination:
    """A collector, and how rows are gathered for it. `delay_s` is in seconds."""

    endpoint: str
    service: str
    delay_s: float
    room: int
    batch: int

    def open(self) -> Exporter:
        """Load the SDK and make the exporters; takes some tenths of a second."""
        return OtlpExporter(self.endpoint, self.service)


def destination(
    endpoint: str | None, service: str, env: Mapping[str, str] = os.environ
) -> Destination | None:
    """Where the settings say that telemetry goes; None if nowhere.

    Raises ConfigError when the extra is missing or the protocol is not ours.
    """
    if endpoint is None or env.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if importlib.util.find_spec("opentelemetry") is None or not _installed():
        raise ConfigError(
            ENDPOINT, "needs the extra otlp; run: pip install 'september[otlp]', or unset it"
        )
    for name in (_PROTOCOL, *(f"OTEL_EXPORTER_OTLP_{one.upper()}_PROTOCOL" for one in _SIGNALS)):
        if env.get(name, _SPOKEN) != _SPOKEN:
            raise ConfigError(name, f"must be {_SPOKEN} (a collector's port 4318), or unset")
    return Destination(
        endpoint,
        service,
        delay_s=_number(env, "OTEL_BSP_SCHEDULE_DELAY", 1_000) / 1000,
        room=_number(env, "OTEL_BSP_MAX_QUEUE_SIZE", 8_192),
        batch=_number(env, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512),
    )


def _installed() -> bool:
    modules = ("opentelemetry.sdk", "opentelemetry.exporter")
    return all(importlib.util.find_spec(name) is not None for name in modules)


def _number(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name) or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(name, "must be a whole number, at least 1")
    return int(text)


class OtlpExporter:
    """The SDK's exporters over HTTP; OTEL_TRACES_EXPORTER or OTEL_METRICS_EXPORTER may be none."""

    def __init__(self, endpoint: str, service: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace.export import SpanExportResult

        resource = Resource.create(_named(service))
        self._success = SpanExportResult.SUCCESS
        self._maker = SpanMaker(resource)
        self._spans = OTLPSpanExporter(_url(endpoint, "traces")) if _sends("TRACES") else None
        readers: list[PeriodicExportingMetricReader] = []
        if _sends("METRICS"):
            to = OTLPMetricExporter(_url(endpoint, "metrics"))
            readers.append(PeriodicExportingMetricReader(to))
        self._provider = MeterProvider(readers, resource, shutdown_on_exit=False)
        self._meters = Meters(self._provider)

    def export(self, rows: Sequence[TraceRow]) -> int:
        """Send rows as spans and count them; how many spans did not get through."""
        self._meters.count(rows)
        spans = self._maker.spans(rows)
        if self._spans is None or not spans:
            return 0
        return 0 if self._spans.export(spans) == self._success else len(spans)

    def close(self) -> None:
        """Send the last metrics, end their thread; an `export` that waits gives up."""
        if self._spans is not None:
            self._spans.shutdown()  # type: ignore[no-untyped-call]  # the SDK's own
        self._provider.shutdown(_LAST_METRICS_MS)


def _sends(signal: str) -> bool:
    return os.environ.get(f"OTEL_{signal}_EXPORTER", "otlp").lower() != "none"


def _url(endpoint: str, signal: str) -> str | None:
    """The signal's own address; one that its variable gives wins (None: the SDK reads it)."""
    if os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"):
        return None
    return f"{endpoint.rstrip('/')}/v1/{signal}"


def _named(service: str) -> dict[str, str]:
    """The service's name, unless the environment gives another."""
    given = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in given:
        return {}
    return {"service.name": service}
