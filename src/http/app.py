"""The Engine's HTTP app: the endpoints on Quart, and the gate in front of it."""

import re
from collections.abc import Awaitable, Callable
from typing import Final, cast

import msgspec
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from ..errors import SeptemberError
from . import errors, wire
from .auth import KeyRing
from .cors import Cors
from .endpoint import Answer, AnyEndpoint, Events, Exchange, HttpSettings, Json, Page, Service
from .gate import Gate
from .port import EnginePort
from .routes import actors, admin, agents, conversations, execute, feedback, health, hitl
from .routes.docs import with_documentation
from .sse import Connection, event_stream
from .visit import VISIT

ENDPOINTS: Final[tuple[AnyEndpoint, ...]] = with_documentation(
    (
        *execute.ENDPOINTS,
        *hitl.ENDPOINTS,
        *conversations.ENDPOINTS,
        *feedback.ENDPOINTS,
        *agents.ENDPOINTS,
        *health.ENDPOINTS,
        *admin.ENDPOINTS,
        *actors.ENDPOINTS,
    )
)
"""Everything the Engine answers to."""

_PARAMETER: Final = re.compile(r"\{(\w+)\}")

_PAGE_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
)


class EngineQuart(QuartTrio):
    """Quart for routing, with event streams that go straight to the wire."""

    asgi_http_class = Connection


def engine_app(
    engine: EnginePort,
    keys: KeyRing,
    settings: HttpSettings | None = None,
    endpoints: tuple[AnyEndpoint, ...] = ENDPOINTS,
) -> Gate:
    """The ASGI app of one Engine."""
    settings = settings or HttpSettings()
    service = Service(engine, keys, settings)
    quart = EngineQuart(__name__, static_folder=None)
    quart.config["MAX_CONTENT_LENGTH"] = None  # the gate has its own limit
    quart.config["BACKGROUND_TASK_SHUTDOWN_TIMEOUT"] = None  # there are none to wait for
    quart.url_map.strict_slashes = False
    quart.url_map.merge_slashes = False  # an id may hold two slashes
    quart.register_error_handler(HTTPException, _no_route)
    for endpoint in endpoints:
        quart.add_url_rule(
            _PARAMETER.sub(r"<path:\1>", endpoint.path),
            endpoint=f"{endpoint.method} {endpoint.path}",
            view_func=_view(endpoint, service),
            methods=[endpoint.method],
            provide_automatic_options=False,
        )
    return Gate(quart, keys, Cors(settings.cors_origins), max_body_bytes=settings.max_body_bytes)


def _view(endpoint: AnyEndpoint, service: Service) -> Callable[..., Awaitable[Response]]:
    async def view(**path: str) -> Response:
        try:
            given = await _input(endpoint)
            exchange = Exchange(service, given, path, VISIT.get())
            return _response(await endpoint.handler(exchange))
        except (Exception, BaseExceptionGroup) as error:
            return _refused(errors.explain(error))

    return view


async def _input(endpoint: AnyEndpoint) -> wire.Input:
    kind: type[wire.Input] = endpoint.takes
    if endpoint.has_body:
        raw = cast("bytes", await request.get_data(cache=False))  # bytes, unless asked for text
        return wire.from_body(raw, kind)
    if endpoint.method == "GET":
        return wire.from_query(request.args.items(multi=True), kind)
    return kind()


def _response(answer: Answer) -> Response:
    match answer:
        case Json(value, status):
            return Response(msgspec.json.encode(value), status, content_type="application/json")
        case Events(opener):
            return event_stream(opener)
        case Page(html):
            policy = {"Content-Security-Policy": _PAGE_POLICY}
            return Response(html, headers=policy, content_type="text/html; charset=utf-8")


def _refused(error: SeptemberError) -> Response:
    return Response(errors.envelope(error), error.status, headers=dict(errors.headers(error)))


def _no_route(error: HTTPException) -> Response:
    """Quart found no endpoint for this path, or not for this method."""
    if isinstance(error, MethodNotAllowed):
        allowed = sorted(error.valid_methods or ())
        refusal = SeptemberError(
            "METHOD_NOT_ALLOWED",
            f"{request.method} is not what {request.path} takes; use {' or '.join(allowed)}",
            {"allowed": allowed},
        )
        response = _refused(refusal)
        response.headers["Allow"] = ", ".join(allowed)
        return response
    return _refused(
        SeptemberError(
            "NOT_FOUND",
            f"there is nothing at {request.path}; GET /openapi.json lists what there is",
        )
    )
