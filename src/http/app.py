"""The Engine's HTTP app: a gate, a lane for streams, and Quart for everything else."""

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import msgspec
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from ..actors import Trace
from ..errors import SeptemberError
from . import errors
from .auth import KeyRing
from .cors import Cors
from .dispatch import dispatch
from .door import EngineDoor
from .endpoint import Answer, AnyEndpoint, Events, HttpSettings, Json, Page, Service, Text
from .gate import Gate
from .metrics_port import MetricsPort
from .pages.page import policy
from .port import EnginePort
from .routes import (
    actors,
    admin,
    agents,
    assets,
    conversations,
    execute,
    feedback,
    health,
    hitl,
    learning,
    memory,
    metrics,
    observability,
    observe,
    permissions,
    rpc,
    skills,
    traces,
)
from .routes.docs import with_documentation
from .sse import StreamLane
from .visit import VISIT, Visit

ENDPOINTS: Final[tuple[AnyEndpoint, ...]] = with_documentation(
    (
        *execute.ENDPOINTS,
        *hitl.ENDPOINTS,
        *permissions.ENDPOINTS,
        *conversations.ENDPOINTS,
        *feedback.ENDPOINTS,
        *memory.ENDPOINTS,
        *skills.ENDPOINTS,
        *learning.ENDPOINTS,
        *rpc.ENDPOINTS,
        *traces.ENDPOINTS,
        *observe.ENDPOINTS,
        *observability.ENDPOINTS,
        *agents.ENDPOINTS,
        *assets.ENDPOINTS,
        *health.ENDPOINTS,
        *metrics.ENDPOINTS,
        *admin.ENDPOINTS,
        *actors.ENDPOINTS,
    )
)
"""Everything the Engine answers to."""

_PARAMETER: Final = re.compile(r"\{(\w+)\}")


def engine_app(
    engine: EnginePort,
    keys: KeyRing,
    settings: HttpSettings | None = None,
    endpoints: tuple[AnyEndpoint, ...] = ENDPOINTS,
    trace: Trace | None = None,
) -> Gate:
    """The ASGI app of one Engine: gate, then streams, then Quart. `trace` gets each request."""
    settings = settings or HttpSettings()
    service = Service(engine, keys, settings)
    with_media = max(settings.max_body_bytes, settings.media_max_body_bytes)
    lane = StreamLane(_routed(service, endpoints), service, endpoints)
    return Gate(
        lane,
        EngineDoor(keys),
        Cors(settings.cors_origins),
        max_body_bytes=settings.max_body_bytes,
        larger={
            "/execute": with_media,
            "/hitl/respond": with_media,
            "/memory/import": max(settings.max_body_bytes, settings.import_max_body_bytes),
        },
        trace=trace,
        meter=partial(_count, engine.metrics),
    )


_CODE: Final = re.compile(r'"error":"([A-Z_]+)"')


def _count(metrics: MetricsPort, visit: Visit) -> None:
    refusal = _CODE.search(visit.refusal)
    metrics.count_request(
        visit.method, visit.route, visit.status or 0, visit.seconds, refusal[1] if refusal else ""
    )


def _routed(service: Service, endpoints: tuple[AnyEndpoint, ...]) -> QuartTrio:
    quart = QuartTrio(__name__, static_folder=None)
    quart.config["BACKGROUND_TASK_SHUTDOWN_TIMEOUT"] = None  # there are none to wait for
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
    return quart


def _view(endpoint: AnyEndpoint, service: Service) -> Callable[..., Awaitable[Response]]:
    async def view(**path: str) -> Response:
        return _response(await dispatch(endpoint, service, VISIT.get(), path))

    return view


def _response(answer: Answer | SeptemberError) -> Response:
    match answer:
        case Json(value, status):
            return Response(msgspec.json.encode(value), status, content_type="application/json")
        case Page(html):
            headers = {"Content-Security-Policy": policy()}
            return Response(html, headers=headers, content_type="text/html; charset=utf-8")
        case Text(text, content_type):
            return Response(text, content_type=content_type)
        case Events():  # only for a HEAD: see StreamLane
            return Response(content_type="text/event-stream")
        case SeptemberError():
            return _refused(answer)


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
