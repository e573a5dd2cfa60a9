"""Quart: finds the endpoint of a path and sends what it answers.

Importing it takes as long as a third of all the rest of an Engine, so nothing imports this module
before it is needed (`app.py`).
"""

import re
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from ..errors import SeptemberError
from . import errors
from .dispatch import dispatch
from .endpoint import Answer, AnyEndpoint, Events, Json, Page, Service, Text
from .pages.page import policy
from .visit import VISIT

_PARAMETER: Final = re.compile(r"\{(\w+)\}")


def routed(service: Service, endpoints: tuple[AnyEndpoint, ...]) -> QuartTrio:
    """The app that answers what `endpoints` answer, and says of the rest that there is nothing."""
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
