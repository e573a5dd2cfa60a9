"""Every bad request is refused with the documented envelope, before it can do harm."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import httpx2
import pytest
import trio
from trio.testing import MockClock

from september.actors import ActorStopped
from september.errors import ConfigError, SeptemberError
from september.http.body import LINGER_S, discard_body, read_body
from september.http.endpoint import HttpSettings

from .conftest import Served, serving
from .fake_engine import FakeEngine

GOOD = {"task_id": "t", "message": "hello"}


def refused(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["error"]) == (status, code), body
    assert response.headers["content-type"] == "application/json"
    assert body["message"]
    assert set(body) <= {"error", "message", "details"}
    return body


async def post(served: Served, body: object, path: str = "/execute") -> httpx2.Response:
    async with served.client() as client:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await client.post(path, content=raw)


@pytest.mark.parametrize("key", [None, "", "wrong", "tëst"])
@pytest.mark.parametrize("path", ["/execute", "/nowhere", "/docs", "/openapi.json", "/agents"])
async def test_without_the_right_key_every_path_is_refused(
    served: Served, key: str | None, path: str
) -> None:
    async with served.client(None) as client:
        headers = {b"X-Engine-Key": key.encode("latin-1")} if key is not None else {}
        refused(await client.get(path, headers=headers), 401, "INVALID_KEY")


async def test_a_key_sent_twice_is_refused(served: Served) -> None:
    async with served.client() as client:
        request = client.build_request("GET", "/agents")
        request.headers = httpx2.Headers([*request.headers.multi_items(), ("X-Engine-Key", "x")])
        refused(await client.send(request), 401, "INVALID_KEY")


async def test_the_key_is_checked_before_the_body_is_parsed(served: Served) -> None:
    async with served.client("wrong") as client:
        refused(await client.post("/execute", content=b"\xff{"), 401, "INVALID_KEY")


async def test_health_needs_no_key(served: Served) -> None:
    async with served.client(None) as client:
        response = await client.get("/health")
    assert response.status_code == 200
    assert response.json()["status"] == "ok"


async def test_an_engine_in_trouble_is_503() -> None:
    async with serving(FakeEngine(status="error")) as served, served.client(None) as client:
        response = await client.get("/health")
        assert (response.status_code, response.json()["status"]) == (503, "error")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"mesage": "x"}, "mesage"),
        ({"message": ""}, "message"),
        ({"message": " \n\t"}, "message"),
        ({"message": "\u200b\u202e"}, "message"),
        ({"task_id": ""}, "task_id"),
        ({"agent": ""}, "agent"),
        ({"context": {"fles": {}}}, "context.fles"),
    ],
)
async def test_what_is_empty_or_unknown_is_400_and_named(
    served: Served, change: dict[str, object], field: str
) -> None:
    body = refused(await post(served, {**GOOD, **change}), 400, "INVALID_REQUEST")
    assert body["details"]["field"] == field
    assert field in body["message"]
    assert served.engine.requests == []


@pytest.mark.parametrize("field", ["task_id", "message"])
async def test_a_missing_field_is_400_and_named(served: Served, field: str) -> None:
    given = {name: value for name, value in GOOD.items() if name != field}
    body = refused(await post(served, given), 400, "INVALID_REQUEST")
    assert body["details"]["field"] == field


async def test_a_misspelt_field_is_told_the_right_one(served: Served) -> None:
    body = refused(await post(served, {**GOOD, "on_bussy": "queue"}), 400, "INVALID_REQUEST")
    assert "did you mean 'on_busy'?" in body["message"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"message": 3}, "message"),
        ({"task_id": None}, "task_id"),
        ({"task_id": "x" * 513}, "task_id"),
        ({"direct": "yes"}, "direct"),
        ({"on_busy": "explode"}, "on_busy"),
        ({"response_schema": []}, "response_schema"),
        ({"context": {"files": {"a.txt": 1}}}, "context.files[...]"),
        ({"media": [{"type": "hologram"}]}, "media[0].type"),
        (
            {"media": [{"type": "image", "source": {"type": "url", "url": 1}}]},
            "media[0].source.url",
        ),
    ],
)
async def test_a_value_of_the_wrong_kind_is_422_and_named(
    served: Served, change: dict[str, object], field: str
) -> None:
    body = refused(await post(served, {**GOOD, **change}), 422, "INVALID_REQUEST")
    assert body["details"]["field"] == field


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"[]", "an array"),
        (b'"x"', "a string"),
        (b"null", "null"),
        (b'{"message": "\xff"}', "UTF-8 at byte 13"),
        (b'{"message": \n "x"', "line 2, column 5"),
        (b"{'message': 1}", "line 1, column 2"),
        (b'{"message": NaN}', "line 1, column 13"),
        (b'{"message": "\\ud800"}', "not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"message":1e999}', "not valid JSON"),
    ],
)
async def test_a_body_that_is_no_json_object_is_400(
    served: Served, raw: bytes, complaint: str
) -> None:
    body = refused(await post(served, raw), 400, "INVALID_REQUEST")
    assert complaint in body["message"]


async def test_json_counts_whatever_the_content_type_says(served: Served) -> None:
    async with served.client() as client:
        raw = b"\xef\xbb\xbf" + json.dumps(GOOD).encode()
        response = await client.post(
            "/execute", content=raw, headers={"Content-Type": "text/plain; charset=klingon"}
        )
    assert response.status_code == 200


async def test_an_unknown_agent_is_404(served: Served) -> None:
    response = await post(served, {**GOOD, "agent": "nobody"})
    refused(response, 404, "AGENT_NOT_FOUND")


@pytest.mark.parametrize("path", ["/nowhere", "/", "/execute/x/y", "/execute/", "//health2"])
async def test_an_unknown_path_is_404(served: Served, path: str) -> None:
    async with served.client() as client:
        refused(await client.get(served.url + path), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/execute", "POST"), ("PUT", "/agents", "GET"), ("OPTIONS", "/execute", "POST")],
)
async def test_a_wrong_method_is_405_and_told_the_right_one(
    served: Served, method: str, path: str, allowed: str
) -> None:
    async with served.client() as client:
        response = await client.request(method, path)
    refused(response, 405, "METHOD_NOT_ALLOWED")
    assert allowed in response.headers["allow"].split(", ")


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("after=x", 422, "after"),
        ("after=-1", 422, "after"),
        ("since=1", 400, "since"),
        ("after=1&after=2", 400, "after"),
        ("follow=perhaps", 422, "follow"),
    ],
)
async def test_a_bad_query_is_refused_and_named(
    served: Served, query: str, status: int, field: str
) -> None:
    async with served.client() as client:
        response = await client.get(f"/execute/replay?{query}")
    body = refused(response, status, "INVALID_REQUEST")
    assert body["details"]["field"] == field


@pytest.mark.parametrize("value", ["abc", "-1", "1.5", "9" * 40, "²"])
async def test_a_last_event_id_that_is_no_number_is_refused(served: Served, value: str) -> None:
    async with served.client() as client:
        response = await client.get(
            "/execute/replay", headers={b"Last-Event-ID": value.encode("latin-1")}
        )
    body = refused(response, 400, "INVALID_REQUEST")
    assert body["details"]["field"] == "Last-Event-ID"


def two_mebibytes() -> Iterator[bytes]:
    for _ in range(32):
        yield b"x" * 65536


async def chunked(parts: int) -> AsyncIterator[bytes]:
    for _ in range(parts):
        yield b"x" * 65536


@pytest.mark.parametrize("path", ["/execute", "/nowhere"])
async def test_two_mebibytes_are_too_large_and_the_answer_arrives(
    served: Served, path: str
) -> None:
    for _ in range(10):  # an answer that a reset destroys is lost only sometimes
        async with served.client() as client:
            body = b"".join(two_mebibytes())
            refused(await client.post(path, content=body), 413, "PAYLOAD_TOO_LARGE")


async def test_two_mebibytes_in_chunks_are_too_large(served: Served) -> None:
    async with served.client() as client:
        refused(await client.post("/execute", content=chunked(32)), 413, "PAYLOAD_TOO_LARGE")


async def test_a_declared_size_is_refused_before_the_body_comes(served: Served) -> None:
    stream = await served.connect()
    await stream.send_all(
        b"POST /execute HTTP/1.1\r\nHost: x\r\nX-Engine-Key: test-key\r\n"
        b"Content-Length: 99999999\r\n\r\n"
    )
    with trio.fail_after(1):
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 413")
    await stream.aclose()


async def test_an_endless_body_is_not_read_to_its_end(served: Served) -> None:
    stream = await served.connect()
    await stream.send_all(
        b"POST /execute HTTP/1.1\r\nHost: x\r\nX-Engine-Key: test-key\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    sent = 0
    with trio.fail_after(20), pytest.raises(trio.BrokenResourceError):
        while True:
            await stream.send_all(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            sent += 65536
    assert sent < 64 * 2**20
    await stream.aclose()


async def test_a_refused_body_may_still_be_written_to_its_end(served: Served) -> None:
    head = (
        b"POST /execute HTTP/1.1\r\nHost: x\r\nX-Engine-Key: %b\r\nContent-Length: 2097152\r\n\r\n"
    )
    for key, status in ((b"test-key", b"413"), (b"wrong", b"401")):
        stream = await served.connect()
        await stream.send_all(head % key)
        with trio.fail_after(5):
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 " + status)
            await stream.send_all(b"".join(two_mebibytes()))
            await stream.send_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
        await stream.aclose()


async def test_the_limit_is_a_setting() -> None:
    async with serving(settings=HttpSettings(max_body_bytes=60)) as served:
        assert (await post(served, GOOD)).status_code == 200
        refused(await post(served, {**GOOD, "message": "x" * 60}), 413, "PAYLOAD_TOO_LARGE")


async def test_a_refusal_carries_its_details_and_when_to_retry() -> None:
    error = SeptemberError("SLOTS_EXHAUSTED", "full", {"limit": 2}, retry_after=2.1)
    async with serving(FakeEngine(refusal=error)) as served:
        response = await post(served, GOOD)
        assert refused(response, 429, "SLOTS_EXHAUSTED")["details"] == {"limit": 2}
        assert response.headers["retry-after"] == "3"


@pytest.mark.parametrize("path", ["/execute", "/execute/cancel"])
async def test_an_unforeseen_failure_is_500_with_the_trace_and_no_stack(path: str) -> None:
    engine = FakeEngine(refusal=RuntimeError("secret detail"))
    trace = "0af7651916cd43dd8448eb211c80319c"
    async with serving(engine) as served, served.client() as client:
        body = GOOD if path == "/execute" else {"task_id": "t"}
        headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
        response = await client.post(path, json=body, headers=headers)
        assert refused(response, 500, "INTERNAL")["details"] == {"trace_id": trace}
        assert "secret detail" not in response.text
        assert "Traceback" not in response.text


@pytest.mark.parametrize("path", ["/execute", "/execute/cancel"])
async def test_a_refusal_inside_an_exception_group_is_found(path: str) -> None:
    busy = SeptemberError("TASK_BUSY", "busy")
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [ValueError("x"), busy])])
    async with serving(FakeEngine(refusal=group)) as served:
        body = GOOD if path == "/execute" else {"task_id": "t"}
        refused(await post(served, body, path), 409, "TASK_BUSY")


async def test_an_engine_that_is_going_away_says_so() -> None:
    async with serving(FakeEngine(refusal=ActorStopped("engine/tasks"))) as served:
        refused(await post(served, {"task_id": "t"}, "/execute/cancel"), 503, "DRAINING")


async def test_a_broken_catalog_is_refused_by_its_file() -> None:
    broken = ConfigError("CATALOG_DIR", "agent.json: unexpected end")
    async with serving(FakeEngine(refusal=broken)) as served:
        body = refused(await post(served, b"", "/admin/reload-catalog"), 422, "INVALID_REQUEST")
        assert "agent.json" in body["message"]


@pytest.mark.parametrize(
    "raw",
    [
        b"GARBAGE\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_answered_and_closed(served: Served, raw: bytes) -> None:
    stream = await served.connect()
    received = b""
    with trio.fail_after(3), suppress(trio.BrokenResourceError):
        await stream.send_all(raw)
        while data := await stream.receive_some():
            received += data
    assert received.startswith(b"HTTP/1.1 4")
    await stream.aclose()
    async with served.client() as client:
        assert (await client.get("/agents")).status_code == 200


async def test_a_body_that_never_comes_is_not_waited_for(autojump_clock: MockClock) -> None:
    send, receive = trio.open_memory_channel[Any](1)
    with pytest.raises(SeptemberError, match="did not arrive within 60 s"):
        await read_body(receive.receive, declared="5", limit=10, within=60)
    send.close()
    receive.close()


async def test_the_time_of_a_refused_body_is_limited(autojump_clock: MockClock) -> None:
    send, receive = trio.open_memory_channel[Any](1)
    began = trio.current_time()
    await discard_body(receive.receive)
    assert trio.current_time() - began == pytest.approx(LINGER_S)
    send.close()
    receive.close()
