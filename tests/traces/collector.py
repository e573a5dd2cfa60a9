"""A collector on the loopback: takes OTLP over HTTP, decoded with OpenTelemetry's own types."""

import gzip
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_ENVELOPES: Final[dict[str, Any]] = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
}


class Collector:
    """What came in. `status` is what it answers; `gate` holds answers back until it is set."""

    def __init__(self) -> None:
        self.status = 200
        self.gate = threading.Event()
        self.gate.set()
        self.requests = 0
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.resources: list[dict[str, Any]] = []
        self.spans: dict[str, Any] = {}
        self.metrics: dict[str, list[Any]] = {}
        self.url = ""

    def span(self, name: str) -> Any:
        """The one span of this name."""
        (found,) = [span for span in self.spans.values() if span.name == name]
        return found

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """Decode what was sent to `path`."""
        plain = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        self.headers.append(headers)
        self.bodies.append(plain)
        envelope = _ENVELOPES[path].FromString(plain)
        for group in getattr(envelope, "resource_spans", ()):
            self.resources.append(told(group.resource.attributes))
            for scope in group.scope_spans:
                self.spans |= {span.span_id.hex(): span for span in scope.spans}
        for group in getattr(envelope, "resource_metrics", ()):
            for scope in group.scope_metrics:
                self.metrics |= {one.name: list(one.histogram.data_points) for one in scope.metrics}


def told(attributes: Any) -> dict[str, Any]:
    """Attributes by name."""
    return {
        one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value")
        for one in attributes
    }


@contextmanager
def collecting() -> Generator[Collector]:
    """Run it in threads of its own."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.requests += 1
            collector.gate.wait(30)
            if collector.status == 200:
                headers = {name.lower(): value for name, value in self.headers.items()}
                collector.take(self.path, headers, body)
            self.send_response(collector.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base has it
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        collector.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()
