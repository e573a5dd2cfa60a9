"""The orchestrator's API described: as OpenAPI for programs, as a page for people."""

from functools import cache
from typing import Any, Final

import msgspec

from ....errors import FLEET_STATUS
from ....fleet.metrics import CONTENT_TYPE
from ...endpoint import Json, Nothing, Page
from ...openapi import Api, document
from ...pages.page import page
from ..door import scheme_of
from ..endpoint import AnyEndpoint, Endpoint, Exchange

_ERROR: Final[dict[str, Any]] = {
    "title": "Error",
    "description": "Every answer that is not 2xx. `code` is stable, `message` is for people.",
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string", "enum": sorted(FLEET_STATUS)},
                "message": {"type": "string"},
                "details": {"type": "object"},
            },
        }
    },
}

API: Final = Api(
    title="September orchestrator",
    keys={"PlatformKey": "X-Platform-Key", "AdminKey": "X-Admin-Key"},
    asks=scheme_of,
    statuses=FLEET_STATUS,
    anywhere={
        "PlatformKey": ("INVALID_PLATFORM_KEY", "INTERNAL"),
        "AdminKey": ("INVALID_ADMIN_KEY", "INTERNAL"),
    },
    error=_ERROR,
    texts={path: CONTENT_TYPE for path in ("/metrics/prometheus", "/admin/metrics")},
)


def with_documentation(endpoints: tuple[AnyEndpoint, ...]) -> tuple[AnyEndpoint, ...]:
    """The endpoints, and two more that describe them all."""

    @cache
    def description() -> bytes:
        return msgspec.json.encode(document(everything, API))

    async def openapi(exchange: Exchange[Nothing]) -> Json:
        return Json(msgspec.Raw(description()))

    async def docs(exchange: Exchange[Nothing]) -> Page:
        # Inside a script element only "<" could end the data early.
        data = description().decode().replace("<", "\\u003c")
        return Page(page("docs").replace("{{openapi}}", data))

    everything: tuple[AnyEndpoint, ...] = (
        *endpoints,
        Endpoint(
            "GET", "/openapi.json", "This API as OpenAPI 3.1.", openapi, Nothing, answers=dict
        ),
        Endpoint("GET", "/docs", "This API as a page to read.", docs, Nothing),
    )
    return everything
