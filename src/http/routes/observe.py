"""The page that shows traces and actors to a person; all its data come from the API."""

from functools import cache
from importlib.resources import files

from ..endpoint import Endpoint, Exchange, Nothing, Page
from ..pages.page import page


@cache
def _html() -> str:
    folder = files(__name__.rpartition(".routes.")[0] + ".pages") / "observe"
    modules = sorted(folder.iterdir(), key=lambda file: file.name)
    scripts = (f"<script>\n{one.read_text(encoding='utf-8')}</script>" for one in modules)
    return page("observe").replace("{{modules}}", "\n".join(scripts))


async def observe(exchange: Exchange[Nothing]) -> Page:
    """The page."""
    return Page(_html())


ENDPOINTS = (
    Endpoint("GET", "/observe", "Traces, actors and root causes as a page.", observe, Nothing),
)
