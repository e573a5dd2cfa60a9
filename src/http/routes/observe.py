"""The page that shows traces and actors to a person; all its data come from the API."""

from ..endpoint import Nothing, Page, TraceEndpoint, TraceExchange
from ..pages.page import ENGINE, Service, page


def observing(service: Service) -> TraceEndpoint[Nothing]:
    """The endpoint of a service's page."""
    html = page("observe", service)

    async def observe(exchange: TraceExchange[Nothing]) -> Page:
        return Page(html)

    summary = "Traces, actors and root causes as a page."
    return TraceEndpoint("GET", "/observe", summary, observe, Nothing)


ENDPOINTS = (observing(ENGINE),)
