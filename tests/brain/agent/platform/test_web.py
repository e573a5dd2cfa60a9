"""web_fetch as a model uses it: pages become text, long ones come in parts, refusals explain."""

import json
from collections.abc import Awaitable, Callable
from typing import Protocol

import pytest

from september.brain.agent.platform.web import PAGE, web_fetch, web_search
from september.brain.agent.tools import Tool, ToolContext, ToolOutput
from september.brain.web.fetch import Fetcher
from september.brain.web.search import WebSearch
from september.config import Secret
from tests.brain.media.samples import document, picture
from tests.brain.web.site import Answer, site


class HasContext(Protocol):
    """The part of the `desk` fixture that is used here."""

    context: ToolContext


ARTICLE = b"""<!doctype html><html><head><title>The moon</title></head><body>
<nav><a href="/">Home</a><a href="/about">About us</a></nav>
<article><h1>The moon</h1><p>The moon goes around the earth in about 27 days, and it always shows
the earth the same side, because its rotation is bound to its orbit.</p>
<p>It is 384,400 kilometres away on average. <a href="https://example.org/source">A source</a> says
so, and many others do, too, in more words than this short page can hold.</p></article>
<footer>Cookies, imprint, cookies</footer></body></html>"""

Fetch = Callable[..., Awaitable[ToolOutput]]


@pytest.fixture
def fetch(desk: HasContext) -> Fetch:
    tool = web_fetch(Fetcher(allows=lambda address: address.startswith("127.")))

    async def run(url: str, **more: object) -> ToolOutput:
        return await tool.run({"url": url, **more}, desk.context)

    return run


async def test_an_article_comes_without_what_stands_around_it(fetch: Fetch) -> None:
    async with site({"/": Answer(ARTICLE)}) as here:
        answer = await fetch(here.url())
    assert answer.error is None
    assert "384,400 kilometres" in answer.text and "https://example.org/source" in answer.text
    assert "Cookies" not in answer.text and "About us" not in answer.text
    assert answer.text.startswith(f"[{here.url()}]") and "# The moon" in answer.text


async def test_json_text_and_pdf_are_read_and_pictures_are_not(fetch: Fetch) -> None:
    pages = {
        "/json": Answer(b'{"a": 1}', "application/json"),
        "/text": Answer("caf\xe9".encode("latin-1"), "text/plain; charset=latin-1"),
        "/pdf": Answer(document("On paper"), "application/pdf"),
        "/png": Answer(picture(), "image/png"),
        "/gone": Answer(b"gone", status=410),
        "/empty": Answer(b"", "text/plain"),
    }
    async with site(pages) as here:
        assert '{"a": 1}' in (await fetch(here.url("/json"))).text
        assert "café" in (await fetch(here.url("/text"))).text
        assert "On paper" in (await fetch(here.url("/pdf"))).text
        assert (await fetch(here.url("/png"))).error == "unsupported_type"
        assert (await fetch(here.url("/gone"))).error == "http_error"
        assert "no text" in (await fetch(here.url("/empty"))).text


async def test_a_long_page_comes_in_parts_and_is_fetched_once(fetch: Fetch) -> None:
    text = "".join(f"{n:08} " for n in range(15_000))
    async with site({"/": Answer(text.encode(), "text/plain")}) as here:
        first = await fetch(here.url())
        last = await fetch(here.url(), page=3)
        beyond = await fetch(here.url(), page=4)
    assert "page 1 of 3; ask for page 2" in first.text and first.truncated
    assert text[:PAGE] in first.text
    assert "00014999" in last.text and "ask for page" not in last.text
    assert beyond.error == "no_such_page"
    assert len(here.asked) == 1


async def test_the_real_tool_does_not_reach_loopback(desk: HasContext) -> None:
    async with site({"/": Answer(b"secret")}) as here:
        answer = await web_fetch(Fetcher()).run({"url": here.url()}, desk.context)
    assert answer.error == "blocked_address" and here.asked == []


async def test_search_results_are_json_for_the_model(desk: HasContext) -> None:
    hit = {"title": "T", "url": "https://e.example/", "description": "D", "page_age": "2026-01-01"}
    answer = Answer(json.dumps({"web": {"results": [hit, hit]}}).encode(), "application/json")
    async with site({"/res/v1/web/search": answer}) as here:
        tool: Tool = web_search(WebSearch(Secret("k"), None, here.url(""), here.url("")))
        found = await tool.run({"query": "x", "limit": 1}, desk.context)
    assert json.loads(found.text) == [
        {"title": "T", "url": "https://e.example/", "snippet": "D", "published_at": "2026-01-01"}
    ]
    nobody = web_search(WebSearch(None, None, "http://x", "http://x"))
    refused = await nobody.run({"query": "x"}, desk.context)
    assert refused.error == "not_configured" and "BRAVE_API_KEY" in refused.text
