"""The API's description matches what is served, and its page stands on its own."""

import re
from typing import Any

import msgspec
import pytest

from september.brain.channels.events import Event
from september.errors import STATUS
from september.http.app import ENDPOINTS
from september.http.openapi import document

from .conftest import Served

TEXT = msgspec.json.encode(document(ENDPOINTS)).decode()
DOCUMENT: Any = msgspec.json.decode(TEXT)


def test_every_endpoint_is_described_once() -> None:
    described = [
        (path, method) for path, methods in DOCUMENT["paths"].items() for method in methods
    ]
    assert sorted(described) == sorted((e.path, e.method.lower()) for e in ENDPOINTS)
    ids = [op["operationId"] for methods in DOCUMENT["paths"].values() for op in methods.values()]
    assert len(set(ids)) == len(ids)


def test_every_reference_leads_somewhere() -> None:
    referred = re.findall(r'"\$ref":"#/components/schemas/(.*?)"', TEXT)
    assert referred
    assert set(referred) <= set(DOCUMENT["components"]["schemas"])


def test_the_body_of_execute_is_described_field_by_field() -> None:
    body = DOCUMENT["components"]["schemas"]["ExecuteBody"]
    assert set(body["required"]) == {"message", "task_id"}
    assert body["additionalProperties"] is False
    assert {"media", "direct", "agent", "on_busy", "context"} <= set(body["properties"])
    undescribed = {name for name, field in body["properties"].items() if "$ref" not in field}
    assert all("description" in body["properties"][name] for name in undescribed)


def test_every_event_is_described() -> None:
    content = DOCUMENT["paths"]["/execute"]["post"]["responses"]["200"]["content"]
    events = content["text/event-stream"]["x-events"]
    assert set(events) == {kind.type for kind in Event.__args__}


def test_only_health_and_the_oauth_callback_are_described_as_keyless() -> None:
    keyless = [
        path
        for path, methods in DOCUMENT["paths"].items()
        for operation in methods.values()
        if operation.get("security") == []
    ]
    assert sorted(keyless) == ["/assets/oauth/callback", "/health"]
    assert DOCUMENT["security"] == [{"EngineKey": []}]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda e: f"{e.method} {e.path}")
def test_every_refusal_of_an_endpoint_is_a_known_code(endpoint: Any) -> None:
    assert set(endpoint.refusals) <= set(STATUS)


async def test_the_description_is_served(served: Served) -> None:
    async with served.client() as client:
        response = await client.get("/openapi.json")
    assert response.headers["content-type"] == "application/json"
    assert response.json() == DOCUMENT


async def test_the_page_holds_the_description_and_needs_nothing_from_elsewhere(
    served: Served,
) -> None:
    async with served.client() as client:
        response = await client.get("/docs")
    html = response.text
    data = re.search(r'<script type="application/json" id="openapi">(.*?)</script>', html, re.S)
    assert data is not None
    assert msgspec.json.decode(data[1]) == DOCUMENT
    assert "{{" not in html
    assert not re.search(r'(?:src|href)="?https?:|@import|\burl\(', html)
    assert "default-src 'none'" in response.headers["content-security-policy"]


async def test_a_browser_without_the_key_is_asked_for_it(served: Served) -> None:
    async with served.client(None) as client:
        response = await client.get("/docs", headers={"Accept": "text/html,*/*;q=0.8"})
        program = await client.get("/docs")
    assert response.status_code == 401
    assert response.headers["content-type"].startswith("text/html")
    assert "X-Engine-Key" in response.text
    assert "paths" not in response.text
    assert program.json()["error"] == "INVALID_KEY"
