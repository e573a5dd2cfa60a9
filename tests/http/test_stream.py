"""Streams: frames arrive as they are made, and a client that leaves is noticed."""

import os
from collections.abc import AsyncGenerator

import pytest
import structlog.testing
import trio

from september.errors import SeptemberError
from september.http.sse import frame

from .conftest import Served, serving
from .fake_engine import Chunks, FakeEngine, sse

BODY = b'{"task_id": "t", "message": "x"}'
REQUEST = (
    b"POST /execute HTTP/1.1\r\nHost: x\r\nX-Engine-Key: test-key\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


async def silence() -> AsyncGenerator[bytes, None]:
    yield sse(1)
    await trio.sleep_forever()


async def endless() -> AsyncGenerator[bytes, None]:
    number = 0
    while True:
        number += 1
        yield sse(number, "x" * 1000)


async def read_until(stream: trio.SocketStream, mark: bytes) -> bytes:
    received = b""
    with trio.fail_after(5):
        while mark not in received:
            data = await stream.receive_some()
            if not data:
                break
            received += data
    return received


def test_a_frame_gives_each_line_of_its_data_a_field() -> None:
    assert frame("error", b"{}") == b"event: error\ndata: {}\n\n"
    assert frame("x", b"a\nb\r\nc") == b"event: x\ndata: a\ndata: b\ndata: c\n\n"
    assert frame("x", b"") == b"event: x\ndata: \n\n"


async def test_a_frame_arrives_while_the_turn_goes_on() -> None:
    arrived = trio.Event()

    async def patient() -> AsyncGenerator[bytes, None]:
        yield sse(1)
        await arrived.wait()
        yield sse(2)

    async with serving(FakeEngine(chunks=patient)) as served, served.client() as client:
        received: list[bytes] = []
        with trio.fail_after(2):
            async with client.stream("POST", "/execute", content=BODY) as response:
                async for data in response.aiter_bytes():
                    received.append(data)
                    arrived.set()
    assert received == [sse(1), sse(2)]


@pytest.mark.parametrize("chunks", [silence, endless])
@pytest.mark.parametrize("farewell", ["close", "reset", "half-close"])
async def test_a_client_that_leaves_is_noticed_at_once(chunks: Chunks, farewell: str) -> None:
    engine = FakeEngine(chunks=chunks)
    async with serving(engine) as served:
        stream = await served.connect()
        await stream.send_all(REQUEST)
        await read_until(stream, b"text_delta")
        assert engine.open_streams == 1
        match farewell:
            case "reset":
                stream.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SO_LINGER, 0 s: RST
                await stream.aclose()
            case "close":
                await stream.aclose()
            case _:
                await stream.send_eof()
        with trio.fail_after(2):
            await engine.left.wait()
        assert engine.open_streams == 0
        await stream.aclose()


async def test_a_slow_reader_gets_every_frame() -> None:
    async def many() -> AsyncGenerator[bytes, None]:
        for number in range(4000):
            yield sse(number, "x" * 1000)

    async with serving(FakeEngine(chunks=many)) as served:
        stream = await served.connect()
        await stream.send_all(REQUEST)
        received = bytearray()
        with trio.fail_after(20):
            while not received.endswith(b"\r\n0\r\n\r\n"):
                received += await stream.receive_some(20_000)
                await trio.lowlevel.checkpoint()
        assert received.count(b"event: text_delta") == 4000
        await stream.aclose()


async def test_an_endless_stream_leaves_room_for_others() -> None:
    async with serving(FakeEngine(chunks=endless)) as served:
        stream = await served.connect()

        async def drink() -> None:
            while await stream.receive_some():
                pass

        async with trio.open_nursery() as nursery:
            await stream.send_all(REQUEST)
            nursery.start_soon(drink)
            await served.engine.entered.wait()
            async with served.client() as client:
                with trio.fail_after(3):
                    for _ in range(10):
                        assert (await client.get("/health")).status_code == 200
            nursery.cancel_scope.cancel()
        await stream.aclose()


async def test_a_refusal_comes_instead_of_a_stream() -> None:
    engine = FakeEngine(refusal=SeptemberError("TASK_BUSY", "busy"))
    async with serving(engine) as served, served.client() as client:
        response = await client.post("/execute", content=BODY)
    assert response.status_code == 409
    assert response.headers["content-type"] == "application/json"
    assert engine.open_streams == 0


async def test_a_stream_that_breaks_ends_with_an_error_event() -> None:
    async def broken() -> AsyncGenerator[bytes, None]:
        yield sse(1)
        raise RuntimeError("secret detail")

    async with serving(FakeEngine(chunks=broken)) as served, served.client() as client:
        response = await client.post("/execute", content=BODY)
    assert response.status_code == 200
    assert response.content.startswith(sse(1) + b'event: error\ndata: {"error":"INTERNAL"')
    assert b"secret detail" not in response.content
    assert served.engine.open_streams == 0


async def test_an_empty_chunk_does_not_end_a_stream() -> None:
    async def gaps() -> AsyncGenerator[bytes, None]:
        yield sse(1)
        yield b""
        yield sse(2)

    async with serving(FakeEngine(chunks=gaps)) as served, served.client() as client:
        response = await client.post("/execute", content=BODY)
    assert response.content == sse(1) + sse(2)


async def test_an_old_client_gets_the_bare_frames_until_the_end(served: Served) -> None:
    stream = await served.connect()
    await stream.send_all(REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0"))
    received = await read_until(stream, b"never")
    await stream.aclose()
    assert received.partition(b"\r\n\r\n")[2] == sse(1) + sse(2) + sse(3)


async def test_the_access_log_tells_what_became_of_a_stream(served: Served) -> None:
    async with served.client() as client:
        with structlog.testing.capture_logs() as lines:
            await client.post("/execute", content=BODY)
            await client.get("/agents")  # answered after the line of the first is written
    line = next(line for line in lines if line.get("path") == "/execute")
    assert line["event"] == "POST /execute 200"
    assert (line["bytes"], line["complete"]) == (len(sse(1) + sse(2) + sse(3)), True)


async def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    stream = await served.connect()
    await stream.send_all(HEALTH + REQUEST + HEALTH)
    received = b""
    with trio.fail_after(5):
        while received.count(b"uptime_seconds") < 2:
            received += await stream.receive_some()
    assert received.count(b"HTTP/1.1 200") == 3
    first, streamed, last = (received.index(mark) for mark in (b"uptime", b"id: 1\n", b"id: 3\n"))
    assert first < streamed < last < received.rindex(b"uptime")
    await stream.aclose()


async def test_a_connection_serves_many_streams(served: Served) -> None:
    stream = await served.connect()
    for _ in range(20):
        await stream.send_all(REQUEST)
        assert b"id: 3\n" in await read_until(stream, b"\r\n0\r\n\r\n")
    await stream.aclose()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_a_thousand_reconnects_leave_no_descriptor_behind() -> None:
    engine = FakeEngine(chunks=silence)
    async with serving(engine) as served:
        await reconnect(served)
        before = open_descriptors()
        for _ in range(1000):
            await reconnect(served)
        stream = await served.connect()
        for _ in range(10):  # while these are answered, the last connections are closed
            await stream.send_all(HEALTH)
            await read_until(stream, b"next_wake_at")
        await stream.aclose()
        assert engine.open_streams == 0
        assert open_descriptors() <= before + 4
    assert len(engine.requests) == 1001


async def reconnect(served: Served) -> None:
    """Open a stream, read its first frame, and vanish in the middle."""
    stream = await served.connect()
    await stream.send_all(REQUEST)
    while b"text_delta" not in await stream.receive_some():
        pass
    await stream.aclose()
