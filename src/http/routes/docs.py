"""The API described: as OpenAPI for programs, as a page for people."""

from functools import cache

import msgspec

from ..endpoint import AnyEndpoint, Endpoint, Exchange, Json, Nothing, Page
from ..openapi import document
from ..pages.page import page


def with_documentation(endpoints: tuple[AnyEndpoint, ...]) -> tuple[AnyEndpoint, ...]:
    """The endpoints, and two more that describe them all."""

    @cache
    def description() -> bytes:
        return msgspec.json.encode(document(everything))

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
