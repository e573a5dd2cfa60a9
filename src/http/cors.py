"""Cross-origin requests: which browsers' pages may call the Engine. By default, none."""

from collections.abc import Mapping
from typing import Final, TypeAlias

from msgspec import Struct

HeaderList: TypeAlias = list[tuple[bytes, bytes]]

_PREFLIGHT: Final = [
    (b"access-control-allow-methods", b"GET, POST, PUT, DELETE"),
    (
        b"access-control-allow-headers",
        b"X-Engine-Key, Content-Type, Last-Event-ID, Idempotency-Key, X-Request-Id, traceparent",
    ),
    (b"access-control-max-age", b"600"),
]
_EXPOSED: Final = (b"access-control-expose-headers", b"X-Request-Id, Retry-After, traceparent")
_VARY: Final = (b"vary", b"Origin")


class Cors(Struct, frozen=True):
    """The allowed origins, as `CORS_ORIGINS` lists them; `*` allows all."""

    origins: tuple[str, ...] = ()

    def headers(self, request: Mapping[str, str]) -> HeaderList:
        """What the answer must say so that the asking page may read it."""
        if not self.origins:
            return []
        allowed = self._allowed(request)
        if allowed is None:
            return [_VARY]
        return [(b"access-control-allow-origin", allowed.encode("latin-1")), _EXPOSED, _VARY]

    def preflight(self, method: str, request: Mapping[str, str]) -> HeaderList | None:
        """The answer to a browser that asks first; None when this is not such a question.

        A preflight never carries the key (Fetch standard, section 4.8), so it is answered
        without one; it tells only what is allowed.
        """
        asks = method == "OPTIONS" and "access-control-request-method" in request
        return _PREFLIGHT if asks and self._allowed(request) is not None else None

    def _allowed(self, request: Mapping[str, str]) -> str | None:
        origin = request.get("origin")
        if origin is None or "*" in self.origins:
            return origin and "*"
        return origin if origin in self.origins else None
