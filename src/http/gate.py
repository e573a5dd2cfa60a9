"""The gate: everything a request passes before its route, and its answer on the way out.

In this order: request id and trace, CORS preflight, key, body within its limit. Only then is the
request routed, so an unknown path or a broken body says nothing to a stranger.
"""

from collections.abc import Callable, Mapping
from typing import Final

from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    HTTPScope,
    Scope,
)

from ..actors import Trace
from ..errors import SeptemberError
from ..logs import get_logger, request_log
from ..traces.recorder import SILENT
from .asgi import AsgiApp
from .body import Disconnected, discard_body, read_body
from .cors import Cors, HeaderList
from .door import KEYLESS, Door
from .sockets import speak
from .visit import VISIT, Visit, arrival

_log = get_logger("september.http.access")

QUIET: Final = (
    "/health",
    "/traces",
    "/actors",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/observe",
    "/observability",
    "/favicon.ico",
)
"""Paths whose requests are not recorded unless the caller traces them: they are asked all day."""

LISTS: Final = frozenset({"/admin/engines", "/admin/audit"})
"""Likewise, but only to read: the page and `september fleet` ask every few seconds."""

_REFUSAL_LENGTH: Final = 800
"""Bytes of a refusal that its span keeps: its code and what it says."""


class Gate:
    """An ASGI app in front of another. `body_timeout` is in seconds.

    `larger` are the paths whose bodies may have more than `max_body_bytes`, and how much.
    """

    def __init__(
        self,
        app: AsgiApp,
        door: Door,
        cors: Cors,
        *,
        max_body_bytes: int,
        larger: Mapping[str, int] | None = None,
        body_timeout: float = 60.0,
        trace: Trace | None = None,
        meter: Callable[[Visit], None] | None = None,
    ) -> None:
        self._app = app
        self._door = door
        self._cors = cors
        self._max_body_bytes = max_body_bytes
        self._larger = larger or {}
        self._body_timeout = body_timeout
        self._trace = trace or Trace(keep=0)
        self._meter = meter

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        match scope["type"]:
            case "http":
                await self._visit(scope, receive, send)
            case "websocket":
                await speak(scope, receive, send, self._visit)
            case _:
                await self._app(scope, receive, send)

    async def _visit(
        self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        visit = arrival(scope)
        VISIT.set(visit)  # this task ends with the request
        with (
            request_log(visit.request_id),
            self._trace.span(
                f"{visit.method} {visit.path}", visit.request_id, traceparent=_traceparent(visit)
            ) as span,
        ):
            visit.traceparent = span.scope.traceparent
            try:
                await self._pass(visit, scope, receive, self._outward(visit, send))
            finally:
                span.outcome, span.detail = _outcome(visit)
                _write_access(visit)
                if self._meter is not None:
                    self._meter(visit)

    async def _pass(
        self, visit: Visit, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        granted = self._cors.preflight(visit.method, visit.headers)
        if granted is not None:
            await _answer(receive, send, 204, granted, b"")
            return
        try:
            await self._door.check(visit)
            visit.body = await read_body(
                receive,
                declared=visit.headers.get("content-length"),
                limit=self._larger.get(visit.path, self._max_body_bytes),
                within=self._body_timeout,
            )
        except SeptemberError as error:
            headers, body = self._door.refuse(visit, error)
            await _answer(receive, send, error.status, headers, body)
        except Disconnected:
            return
        else:
            await self._app(scope, receive, send)

    def _outward(self, visit: Visit, send: ASGISendCallable) -> ASGISendCallable:
        """A `send` that stamps the answer with its ids and notes what became of it."""
        stamps: HeaderList = [
            (b"x-request-id", visit.request_id.encode("latin-1")),
            (b"traceparent", visit.traceparent.encode("latin-1")),
            *self._cors.headers(visit.headers),
        ]

        async def stamped(event: ASGISendEvent) -> None:
            if event["type"] == "http.response.body":
                visit.sent += len(event["body"])
                visit.finished = not event["more_body"]
                if (visit.status or 0) >= 400 and not visit.refusal:
                    visit.refusal = event["body"][:_REFUSAL_LENGTH].decode(errors="replace")
            elif event["type"] == "http.response.start":
                visit.status = event["status"]
                event["headers"] = [*event["headers"], *stamps]
            await send(event)

        return stamped


async def _answer(
    receive: ASGIReceiveCallable,
    send: ASGISendCallable,
    status: int,
    headers: HeaderList,
    body: bytes,
) -> None:
    """Answer at once, and end the response only when the client has finished writing."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    await discard_body(receive)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _traceparent(visit: Visit) -> str | None:
    """The caller's trace; without one, what only looks at the Engine leaves no trace of its own."""
    given = visit.headers.get("traceparent")
    looks = visit.path.startswith(QUIET) or (visit.method == "GET" and visit.path in LISTS)
    return given or (SILENT if looks else None)


def _outcome(visit: Visit) -> tuple[str, str]:
    """What became of a request, for its span."""
    if not visit.finished:
        return "client_left", f"the client left after {visit.sent} bytes of the answer"
    status = visit.status or 0
    return ("ok", str(status)) if status < 400 else (f"http_{status}", visit.refusal)


def _write_access(visit: Visit) -> None:
    """One line for each request; never its query, which may carry a secret."""
    write = _log.debug if visit.path in KEYLESS else _log.info  # probes come every few seconds
    write(
        f"{visit.method} {visit.path} {visit.status or 'unanswered'}",
        method=visit.method,
        path=visit.path,
        status=visit.status,
        duration_ms=round(visit.seconds * 1000, 3),
        bytes=visit.sent,
        complete=visit.finished,
    )
