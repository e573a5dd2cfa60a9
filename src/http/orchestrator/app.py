"""The orchestrator's HTTP app: the gate, and a table of routes behind it."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from ...actors import Trace
from ...errors import SeptemberError
from .. import errors, wire
from ..asgi import live
from ..cors import Cors
from ..endpoint import Events, Json, Page
from ..gate import Gate
from ..pages.page import ORCHESTRATOR, policy
from ..routes import actors, traces
from ..routes.observe import observing
from ..sse import relay
from ..visit import VISIT, Visit
from .desk import Desk
from .door import FleetDoor, envelope
from .endpoint import Answer, AnyEndpoint, Endpoint, Exchange
from .routes import admin, engines, fleet
from .routes.docs import with_documentation

ENDPOINTS: Final[tuple[AnyEndpoint, ...]] = with_documentation(
    (
        *engines.ENDPOINTS,
        *fleet.ENDPOINTS,
        *admin.ENDPOINTS,
        *traces.ENDPOINTS,
        *actors.ENDPOINTS,
        observing(ORCHESTRATOR),
    )
)
"""Everything the orchestrator answers to. The first that fits a path gets it."""

MAX_BODY_BYTES: Final = 64 * 2**10

_PARAMETER: Final = re.compile(r"\{(\w+)\}")


def orchestrator_app(desk: Desk, trace: Trace | None = None) -> Gate:
    """The ASGI app of one orchestrator. `trace` gets each request."""
    return Gate(
        Routes(desk, ENDPOINTS),
        FleetDoor(desk),
        Cors(),
        max_body_bytes=MAX_BODY_BYTES,
        trace=trace,
    )


class Routes:
    """An ASGI app that finds the endpoint of a path and sends what it answers."""

    def __init__(self, desk: Desk, endpoints: Iterable[AnyEndpoint]) -> None:
        self._desk = desk
        self._table = [(_pattern(endpoint.path), endpoint) for endpoint in endpoints]

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if scope["type"] == "lifespan":
            await live(receive, send)
            return
        visit = VISIT.get()
        answer = await self._answer(visit)
        if isinstance(answer, Events) and visit.method != "HEAD" and scope["type"] == "http":
            return await relay(answer.opener, scope, receive, send, envelope)
        status, headers, body = _rendered(answer)
        length = (b"content-length", str(len(body)).encode())
        raw = [*((name.encode(), value.encode()) for name, value in headers), length]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        shown = b"" if visit.method == "HEAD" else body
        await send({"type": "http.response.body", "body": shown, "more_body": False})

    async def _answer(self, visit: Visit) -> Answer | SeptemberError:
        try:
            endpoint, path = self._find(visit)
            given = _input(endpoint, visit)
            answer: Answer = await endpoint.handler(Exchange(self._desk, given, path, visit))
        except (Exception, BaseExceptionGroup) as error:
            return errors.explain(error)
        return answer

    def _find(self, visit: Visit) -> tuple[AnyEndpoint, Mapping[str, str]]:
        method = "GET" if visit.method == "HEAD" else visit.method
        allowed: set[str] = set()
        for pattern, endpoint in self._table:
            if match := pattern.fullmatch(visit.path):
                if endpoint.method == method:
                    return endpoint, match.groupdict()
                allowed.add(endpoint.method)
        if allowed:
            raise _not_allowed(visit, sorted(allowed))
        raise SeptemberError(
            "NOT_FOUND",
            f"there is nothing at {visit.path}; GET /openapi.json lists what there is",
        )


def _pattern(path: str) -> re.Pattern[str]:
    """A user's id may hold any character, also a slash."""
    return re.compile(_PARAMETER.sub(r"(?P<\1>.+)", path), re.DOTALL)


def _input(endpoint: AnyEndpoint, visit: Visit) -> wire.Input:
    kind: type[wire.Input] = endpoint.takes
    if endpoint.has_body:
        optional = isinstance(endpoint, Endpoint) and endpoint.optional_body
        body = visit.body.strip() or b"{}" if optional else visit.body
        return wire.from_body(body, kind)
    if endpoint.method == "GET":
        return wire.from_query(visit.query, kind)
    return kind()


def _rendered(answer: Answer | SeptemberError) -> tuple[int, list[tuple[str, str]], bytes]:
    match answer:
        case Json(value, status):
            return status, [("content-type", "application/json")], msgspec.json.encode(value)
        case Page(html):
            kind = ("content-type", "text/html; charset=utf-8")
            return 200, [kind, ("content-security-policy", policy())], html.encode()
        case Events():  # only for a HEAD
            return 200, [("content-type", "text/event-stream")], b""
        case SeptemberError():
            return answer.status, errors.headers(answer), envelope(answer)
        case _:
            return 200, [("content-type", answer.content_type)], answer.text.encode()


def _not_allowed(visit: Visit, allowed: list[str]) -> SeptemberError:
    return SeptemberError(
        "METHOD_NOT_ALLOWED",
        f"{visit.method} is not what {visit.path} takes; use {' or '.join(allowed)}",
        {"allowed": allowed},
    )
