"""A provider's SDK client: loaded in a thread on first use, closed with its connections."""

from collections.abc import Callable
from typing import Generic, TypeVar

import httpx2
import trio
from msgspec import Struct

from ...actors import current_span
from .sse import guard

C = TypeVar("C")

_KEPT_IDLE = 8
_KEPT_FOR = 30.0


class Timeouts(Struct, frozen=True):
    """Limits of one call, in seconds. `idle` is the longest silence within a stream."""

    connect: float = 10.0
    idle: float = 180.0


def http_client(timeouts: Timeouts) -> httpx2.AsyncClient:
    """A client for streams: HTTP/1.1, where leaving a stream closes its socket at once.

    The timeouts are set on the request itself: google-genai passes none and would wait for ever,
    and its own setting would also tell the server to give up after the same time.
    """
    limits = httpx2.Timeout(
        connect=timeouts.connect, read=timeouts.idle, write=timeouts.idle, pool=timeouts.connect
    )

    async def limit(request: httpx2.Request) -> None:
        request.extensions["timeout"] = limits.as_dict()
        request.headers["accept-encoding"] = "identity"  # the guard reads plain bytes
        span = current_span()
        if span is not None:
            request.headers["traceparent"] = span.traceparent

    return httpx2.AsyncClient(
        http1=True,
        http2=False,
        timeout=limits,
        limits=httpx2.Limits(
            max_connections=None,
            max_keepalive_connections=_KEPT_IDLE,
            keepalive_expiry=_KEPT_FOR,
        ),
        event_hooks={"request": [limit], "response": [guard]},
    )


class _Loaded(Struct, Generic[C], frozen=True):
    client: C
    http: httpx2.AsyncClient


class LazySdk(Generic[C]):
    """Makes the SDK's client when it is first needed: importing an SDK takes up to 1.4 s."""

    def __init__(self, make: Callable[[httpx2.AsyncClient], C], timeouts: Timeouts) -> None:
        self._make = make
        self._timeouts = timeouts
        self._lock = trio.Lock()
        self._loaded: _Loaded[C] | None = None

    async def client(self) -> C:
        """The SDK's client; a caller that is cancelled leaves the import to finish by itself."""
        async with self._lock:
            if self._loaded is None:
                self._loaded = await trio.to_thread.run_sync(self._load, abandon_on_cancel=True)
            return self._loaded.client

    async def aclose(self) -> None:
        """Close the connections; a later call opens a new client."""
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            await loaded.http.aclose()

    def _load(self) -> _Loaded[C]:
        http = http_client(self._timeouts)
        return _Loaded(self._make(http), http)
