"""Searching the web: Brave first, Tavily where Brave cannot answer (contract, section 12)."""

import re
from collections.abc import Iterable
from html import unescape
from typing import Final, TypeVar

import httpx2
import msgspec
from msgspec import Struct

from ...config import Secret

T = TypeVar("T")

_TIMEOUT_S: Final = 15.0
_TAG: Final = re.compile(r"<[^<>]{0,200}>")


class SearchFailed(Exception):
    """No answer. `code` is short; the text says why and what to do."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class SearchResult(Struct, frozen=True):
    """A hit. `published_at` is as the service tells it, null when it does not."""

    title: str
    url: str
    snippet: str
    published_at: str | None


class _BraveHit(Struct, frozen=True):
    title: str
    url: str
    description: str = ""
    page_age: str | None = None


class _BraveWeb(Struct, frozen=True):
    results: tuple[_BraveHit, ...] = ()


class _BraveAnswer(Struct, frozen=True):
    web: _BraveWeb | None = None


class _TavilyHit(Struct, frozen=True):
    title: str
    url: str
    content: str = ""
    published_date: str | None = None


class _TavilyAnswer(Struct, frozen=True):
    results: tuple[_TavilyHit, ...] = ()


class WebSearch:
    """The services there are keys for."""

    def __init__(
        self, brave: Secret | None, tavily: Secret | None, brave_url: str, tavily_url: str
    ) -> None:
        self._brave = brave
        self._tavily = tavily
        self._brave_url = brave_url.rstrip("/")
        self._tavily_url = tavily_url.rstrip("/")

    async def search(self, query: str, count: int) -> tuple[SearchResult, ...]:
        """Up to `count` results, best first. Raises SearchFailed."""
        if self._brave is None and self._tavily is None:
            raise SearchFailed(
                "not_configured",
                "web_search needs a key: set BRAVE_API_KEY or TAVILY_API_KEY, and restart",
            )
        failures: list[SearchFailed] = []
        async with httpx2.AsyncClient(timeout=_TIMEOUT_S) as client:
            for key, ask in ((self._brave, self._ask_brave), (self._tavily, self._ask_tavily)):
                if key is None:
                    continue
                try:
                    return await ask(client, key, query, count)
                except SearchFailed as failure:
                    failures.append(failure)
        raise SearchFailed(failures[-1].code, "; ".join(map(str, failures)))

    async def _ask_brave(
        self, client: httpx2.AsyncClient, key: Secret, query: str, count: int
    ) -> tuple[SearchResult, ...]:
        """https://api-dashboard.search.brave.com/app/documentation/web-search/get-started"""
        request = client.build_request(
            "GET",
            f"{self._brave_url}/res/v1/web/search",
            params={"q": query[:400], "count": count, "text_decorations": "false"},
            headers={"X-Subscription-Token": key.reveal(), "Accept": "application/json"},
        )
        answer = _decoded(await _sent(client, request, "Brave"), _BraveAnswer, "Brave")
        hits = answer.web.results if answer.web is not None else ()
        return _results((hit.title, hit.url, hit.description, hit.page_age) for hit in hits)

    async def _ask_tavily(
        self, client: httpx2.AsyncClient, key: Secret, query: str, count: int
    ) -> tuple[SearchResult, ...]:
        """https://docs.tavily.com/documentation/api-reference/endpoint/search"""
        request = client.build_request(
            "POST",
            f"{self._tavily_url}/search",
            json={"query": query[:400], "max_results": count},
            headers={"Authorization": f"Bearer {key.reveal()}"},
        )
        answer = _decoded(await _sent(client, request, "Tavily"), _TavilyAnswer, "Tavily")
        hits = answer.results
        return _results((hit.title, hit.url, hit.content, hit.published_date) for hit in hits)


async def _sent(client: httpx2.AsyncClient, request: httpx2.Request, service: str) -> bytes:
    try:
        response = await client.send(request)
    except httpx2.TimeoutException as error:
        raise SearchFailed("timeout", f"{service} did not answer in time") from error
    except httpx2.HTTPError as error:
        raise SearchFailed("unreachable", f"{service} cannot be reached") from error
    if response.status_code in (401, 403):
        raise SearchFailed("key_refused", f"{service} refused the key")
    if response.status_code == 429:
        raise SearchFailed("rate_limited", f"{service} limits the rate of searches")
    if not response.is_success:
        raise SearchFailed("search_failed", f"{service} answered {response.status_code}")
    return response.content


def _decoded(raw: bytes, kind: type[T], service: str) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.DecodeError as error:
        raise SearchFailed("search_failed", f"{service} answered something else") from error


def _results(hits: Iterable[tuple[str, str, str, str | None]]) -> tuple[SearchResult, ...]:
    return tuple(
        SearchResult(_plain(title), url, _plain(snippet), published)
        for title, url, snippet, published in hits
    )


def _plain(text: str) -> str:
    """Without the markup that the services put around the words they found."""
    return " ".join(unescape(_TAG.sub("", text)).split())
