"""One request as the gate sees it: who asks, under which id, and what became of it."""

import re
import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final
from uuid import uuid4

from hypercorn.typing import HTTPScope
from msgspec import Struct, field

from .auth import Standing

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")

KEY_HEADER: Final = "x-engine-key"


class Visit(Struct):
    """A request and, once it is answered, what was sent. `started` is perf_counter seconds.

    `body` is empty until the gate has read it, `route` until the path of an endpoint fits.
    """

    method: str
    path: str
    query: bytes
    headers: Mapping[str, str]
    request_id: str
    body: bytes = b""
    traceparent: str = ""
    standing: Standing = Standing.UNKNOWN
    status: int | None = None
    sent: int = 0
    finished: bool = False
    refusal: str = ""
    route: str = ""
    started: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """How long ago the request arrived."""
        return time.perf_counter() - self.started

    @property
    def wants_page(self) -> bool:
        """Whether a browser is navigating, rather than a program calling."""
        return self.method == "GET" and "text/html" in self.headers.get("accept", "")


VISIT: Final[ContextVar[Visit]] = ContextVar("september.http.visit")
"""The request that is being handled."""


def arrival(scope: HTTPScope) -> Visit:
    """The visit that an ASGI scope announces."""
    headers = _headers(scope)
    return Visit(
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"],
        headers=headers,
        request_id=_request_id(headers.get("x-request-id", "")),
    )


def _headers(scope: HTTPScope) -> dict[str, str]:
    """Headers by lower-case name; one sent more than once is joined, as RFC 9110 (5.3) has it."""
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _request_id(given: str) -> str:
    """The caller's own id, if it is safe to repeat in headers and logs; or else a fresh one."""
    return given if _REQUEST_ID.fullmatch(given) else f"req-{uuid4().hex[:16]}"
