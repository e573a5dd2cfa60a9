"""web_fetch and web_search."""

from collections import OrderedDict
from typing import Final

import msgspec
import trio

from ...channels.events import JsonObject
from ...herald.attachments import PDF
from ...media.pdf import pdf_text
from ...web.fetch import Fetched, Fetcher, FetchLimits, FetchRefused
from ...web.page import readable
from ...web.search import SearchFailed, WebSearch
from ..tools import Tool, ToolContext, ToolOutput
from .refusal import Refusal, number_of, platform_tool, text_of

PAGE: Final = 50_000
"""Characters of one answer."""

_LIMITS: Final = FetchLimits(seconds=20.0, size=5 * 2**20)
_READ_S: Final = 20.0
_KEPT: Final = 16
_KEPT_S: Final = 600.0
_RESULTS: Final = 10


class _Page(msgspec.Struct, frozen=True):
    """A page that was read, and when (trio time)."""

    url: str
    text: str
    at: float


class Reader:
    """Fetches pages and makes them readable; keeps the latest, so that paging fetches once."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._kept: OrderedDict[str, _Page] = OrderedDict()

    async def page(self, url: str) -> _Page:
        """The page at `url`. Raises FetchRefused."""
        known = self._kept.get(url)
        if known is not None and trio.current_time() - known.at < _KEPT_S:
            return known
        fetched = await self._fetcher.fetch(url, _LIMITS, cut=True)
        if fetched.status >= 400:
            raise FetchRefused("http_error", f"{fetched.url} answered {fetched.status}")
        page = _Page(fetched.url, await _read(fetched), trio.current_time())
        self._kept[url] = page
        self._kept.move_to_end(url)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return page


async def _read(fetched: Fetched) -> str:
    if fetched.media_type == PDF:
        found = await pdf_text(fetched.body)
        if not found.texts:
            raise FetchRefused("unreadable", f"{fetched.url}: {found.problem or 'no text in it'}")
        return "\n\n".join(found.texts) + (f"\n\n[{found.problem}]" if found.problem else "")
    with trio.move_on_after(_READ_S):
        text = await trio.to_thread.run_sync(readable, fetched, abandon_on_cancel=True)
        cut = f"\n\n[only the first {_LIMITS.size} bytes were read]" if fetched.truncated else ""
        return text + cut
    raise FetchRefused("timeout", f"{fetched.url} took over {_READ_S:g} s to make sense of")


def web_fetch(fetcher: Fetcher) -> Tool:
    """The tool `web_fetch`."""
    reader = Reader(fetcher)

    @platform_tool(
        "web_fetch",
        "Read a page of the public web as text: an article without what stands around it, a PDF,"
        " JSON or plain text. A long page comes in parts of 50,000 characters. Private and local"
        " addresses cannot be reached.",
        {
            "url": {
                "type": "string",
                "minLength": 1,
                "maxLength": 4000,
                "description": "The address. Example: https://example.org/news",
            },
            "page": {
                "type": "integer",
                "minimum": 1,
                "description": "Which part; the first by default.",
            },
        },
        required=("url",),
    )
    async def tool(arguments: JsonObject, context: ToolContext) -> ToolOutput:
        try:
            page = await reader.page(text_of(arguments, "url"))
        except FetchRefused as refusal:
            raise Refusal(refusal.code, str(refusal)) from refusal
        return _part(page, int(number_of(arguments, "page", 1)))

    return tool


def _part(page: _Page, number: int) -> ToolOutput:
    parts = max(1, -(-len(page.text) // PAGE))
    if number > parts:
        raise Refusal("no_such_page", f"{page.url} has {parts} page(s); ask for one of those")
    text = page.text[(number - 1) * PAGE : number * PAGE]
    if parts == 1:
        return ToolOutput(f"[{page.url}]\n\n{text or '[the page has no text]'}")
    more = f"; ask for page {number + 1} to go on" if number < parts else ""
    return ToolOutput(f"[{page.url}, page {number} of {parts}{more}]\n\n{text}", truncated=True)


def web_search(search: WebSearch) -> Tool:
    """The tool `web_search`."""

    @platform_tool(
        "web_search",
        "Search the web. Answers with a JSON array of {title, url, snippet, published_at}, best"
        " first; read a page with web_fetch.",
        {
            "query": {
                "type": "string",
                "minLength": 1,
                "maxLength": 400,
                "description": "What to look for. Example: trio structured concurrency release",
            },
            "limit": {
                "type": "integer",
                "minimum": 1,
                "maximum": 20,
                "description": "How many results at most; 10 by default.",
            },
        },
        required=("query",),
    )
    async def tool(arguments: JsonObject, context: ToolContext) -> ToolOutput:
        limit = int(number_of(arguments, "limit", _RESULTS))
        try:
            found = await search.search(text_of(arguments, "query"), limit)
        except SearchFailed as failure:
            raise Refusal(failure.code, str(failure)) from failure
        raw = msgspec.json.encode(found[:limit])
        return ToolOutput(msgspec.json.format(raw, indent=1).decode())

    return tool
