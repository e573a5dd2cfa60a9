"""web_search: Brave first, Tavily where that fails, and an error that says what is missing."""

import json

import pytest

from september.brain.web.search import SearchFailed, SearchResult, WebSearch
from september.config import Secret

from .site import Answer, Asked, site

BRAVE = {
    "web": {
        "results": [
            {
                "title": "<strong>Trio</strong> &amp; friends",
                "url": "https://trio.example/",
                "description": "A friendly <strong>library</strong>",
                "page_age": "2026-04-12T10:00:00",
                "profile": {"name": "ignored"},
            },
            {"title": "Second", "url": "https://two.example/"},
        ]
    }
}
TAVILY = {
    "results": [
        {"title": "From Tavily", "url": "https://t.example/", "content": "Text", "score": 0.9}
    ]
}


def brave(asked: Asked) -> Answer:
    assert asked.headers["x-subscription-token"] == "brave-key"
    assert asked.method == "GET" and "q=trio+library" in asked.target
    return Answer(json.dumps(BRAVE).encode(), "application/json")


def tavily(asked: Asked) -> Answer:
    assert asked.headers["authorization"] == "Bearer tavily-key"
    assert json.loads(asked.body)["query"] == "trio library"
    return Answer(json.dumps(TAVILY).encode(), "application/json")


def search(url: str, *, with_brave: bool = True, with_tavily: bool = True) -> WebSearch:
    return WebSearch(
        Secret("brave-key") if with_brave else None,
        Secret("tavily-key") if with_tavily else None,
        url,
        url + "/",
    )


async def test_brave_is_asked_first_and_its_markup_is_taken_out() -> None:
    async with site({"/res/v1/web/search": brave, "/search": tavily}) as here:
        found = await search(here.url("")).search("trio library", 10)
    assert found == (
        SearchResult(
            "Trio & friends", "https://trio.example/", "A friendly library", "2026-04-12T10:00:00"
        ),
        SearchResult("Second", "https://two.example/", "", None),
    )
    assert len(here.asked) == 1


@pytest.mark.parametrize("status", [401, 429, 500, 200])
async def test_tavily_answers_where_brave_cannot(status: int) -> None:
    broken = Answer(b"<html>", status=status)
    async with site({"/res/v1/web/search": broken, "/search": tavily}) as here:
        found = await search(here.url("")).search("trio library", 10)
    assert found == (SearchResult("From Tavily", "https://t.example/", "Text", None),)


async def test_tavily_alone_will_do() -> None:
    async with site({"/search": tavily}) as here:
        found = await search(here.url(""), with_brave=False).search("trio library", 3)
    assert [one.title for one in found] == ["From Tavily"]


async def test_when_both_fail_both_are_named_and_no_key_is_told() -> None:
    async with site({"/search": Answer(b"", status=429)}) as here:
        with pytest.raises(SearchFailed) as failed:
            await search(here.url("")).search("trio library", 10)
    assert failed.value.code == "rate_limited"
    assert "Brave answered 404" in str(failed.value) and "Tavily limits" in str(failed.value)
    assert "key" not in str(failed.value)


async def test_without_a_key_the_variables_are_named() -> None:
    nobody = search("http://127.0.0.1:1", with_brave=False, with_tavily=False)
    with pytest.raises(SearchFailed, match="BRAVE_API_KEY or TAVILY_API_KEY") as failed:
        await nobody.search("anything", 10)
    assert failed.value.code == "not_configured"
