"""Hypercorn's three bugs: each shown in the stock server, and gone from ours.

When a new hypercorn makes a `stock` case fail, that part of `hypercorn_fixes` can go.
"""

import math
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
import trio.testing
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import RawData
from hypercorn.trio import run, tcp_server
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from quart import Response
from quart_trio import QuartTrio

from september.http import hypercorn_fixes
from september.http.hypercorn_fixes import FixedTCPServer

GRACE = 1.5
KEEP_ALIVE = 0.2

GET = b"GET /%b HTTP/1.1\r\nHost: x\r\n%b\r\n"


class ImpatientServer(FixedTCPServer):
    """Ours, but it gives up on a stalled client within the time of a test."""

    stall_s = 0.3


SERVERS: dict[str, type[tcp_server.TCPServer]] = {
    "stock": tcp_server.TCPServer,
    "fixed": FixedTCPServer,
}


def app(may_end: trio.Event, flood_over: trio.Event) -> QuartTrio:
    quart = QuartTrio(__name__)
    quart.config["BACKGROUND_TASK_SHUTDOWN_TIMEOUT"] = None

    @quart.route("/ping")
    async def ping() -> str:
        return "pong"

    @quart.route("/events")
    async def events() -> Response:
        response = Response(until(may_end), content_type="text/event-stream")
        response.timeout = None
        return response

    @quart.route("/flood")
    async def flood() -> Response:
        response = Response(endless(flood_over), content_type="text/event-stream")
        response.timeout = None
        return response

    return quart


async def until(may_end: trio.Event) -> AsyncGenerator[bytes, None]:
    yield b"data: 1\n\n"
    await may_end.wait()
    yield b"data: 2\n\n"


async def endless(over: trio.Event) -> AsyncGenerator[bytes, None]:
    try:
        while True:
            yield b"x" * 65536
    finally:
        over.set()


@dataclass
class Running:
    """A server on `port`; `stop` asks it to, `stopped` says that it did.

    `/events` ends when it `may_end`; `flood_over` says that `/flood` was left.
    """

    port: int
    stop: trio.Event
    stopped: trio.Event
    may_end: trio.Event
    flood_over: trio.Event

    async def request(self, path: str, headers: bytes = b"") -> trio.SocketStream:
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        await stream.send_all(GET % (path.encode(), headers))
        return stream


@pytest.fixture(params=SERVERS)
async def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(run, "TCPServer", SERVERS[request.param])
    return str(request.param)


@asynccontextmanager
async def hypercorn() -> AsyncGenerator[Running, None]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.errorlog = None
    config.graceful_timeout = GRACE
    config.keep_alive_timeout = KEEP_ALIVE
    running = Running(port, trio.Event(), trio.Event(), trio.Event(), trio.Event())
    quart = app(running.may_end, running.flood_over)

    async def served(*, task_status: trio.TaskStatus[list[str]]) -> None:
        await run.worker_serve(
            ASGIWrapper(quart), config, shutdown_trigger=running.stop.wait, task_status=task_status
        )
        running.stopped.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(served)
        yield running
        running.stop.set()


async def read_all(stream: trio.SocketStream, within: float) -> bytes | None:
    """What the server sends until it closes; None if it does not close in time."""
    received = b""
    with trio.move_on_after(within):
        while data := await stream.receive_some():
            received += data
        return received
    return None


async def seconds_until(happens: Callable[[], Awaitable[object]]) -> float:
    began = trio.current_time()
    with trio.move_on_after(GRACE * 2):
        await happens()
    return trio.current_time() - began


async def test_a_an_idle_connection_is_closed_after_its_first_request(kind: str) -> None:
    async with hypercorn() as server:
        stream = await server.request("ping")
        answer = await read_all(stream, within=KEEP_ALIVE * 4)
        await stream.aclose()
    if kind == "stock":
        assert answer is None
    else:
        assert answer is not None and answer.endswith(b"pong")


async def test_a_an_idle_connection_does_not_hold_up_a_shutdown(kind: str) -> None:
    async with hypercorn() as server:
        stream = await server.request("ping")
        await stream.receive_some()
        server.stop.set()
        took = await seconds_until(server.stopped.wait)
        await stream.aclose()
    assert took >= GRACE if kind == "stock" else took < 0.5


async def test_b_a_connection_that_must_close_does(kind: str) -> None:
    async with hypercorn() as server:
        stream = await server.request("ping", b"Connection: close\r\n")
        answer = await read_all(stream, within=0.5)
        await stream.aclose()
    if kind == "stock":
        assert answer is None
    else:
        assert answer is not None and answer.endswith(b"pong")


async def test_b_a_stream_that_ends_during_the_shutdown_ends_it(kind: str) -> None:
    async with hypercorn() as server:
        stream = await server.request("events")
        await stream.receive_some()
        server.stop.set()
        server.may_end.set()
        took = await seconds_until(server.stopped.wait)
        answer = await read_all(stream, within=1)
        await stream.aclose()
    assert took >= GRACE if kind == "stock" else took < 0.5
    assert answer is not None and answer.endswith(b"data: 2\n\n\r\n0\r\n\r\n")


async def test_c_a_client_that_does_not_read_cannot_keep_the_server(kind: str) -> None:
    async with hypercorn() as server:
        stream = await server.request("flood")
        await trio.testing.wait_all_tasks_blocked(0.05)
        server.stop.set()
        took = await seconds_until(server.stopped.wait)
        await stream.aclose()
    assert took >= GRACE * 2 if kind == "stock" else took < GRACE + 0.5


async def test_c_a_client_that_stalls_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "TCPServer", ImpatientServer)
    async with hypercorn() as server:
        stream = await server.request("flood")
        with trio.fail_after(3):
            await server.flood_over.wait()
        answer = await read_all(stream, within=5)
        await stream.aclose()
    assert answer is not None and not answer.endswith(b"0\r\n\r\n")


async def test_c_an_outer_cancel_ends_a_blocked_server_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "TCPServer", FixedTCPServer)
    stream, cancelled_at = None, math.inf
    with trio.CancelScope() as outside:
        async with hypercorn() as server:
            stream = await server.request("flood")
            await trio.testing.wait_all_tasks_blocked(0.05)
            cancelled_at = trio.current_time()
            outside.cancel()
    assert stream is not None
    assert trio.current_time() - cancelled_at < 0.5
    await stream.aclose()


async def test_many_writes_in_a_row_let_other_tasks_run() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        context, state = WorkerContext(None), ConnectionState({})
        server = FixedTCPServer(
            ASGIWrapper(app(trio.Event(), trio.Event())),
            Config(),
            context,
            state,
            stream,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  TLS only by its hint
        )
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for _ in range(200):
                await server.protocol_send(RawData(data=b"x"))
            assert 1 <= turns <= 20
            nursery.cancel_scope.cancel()
        await stream.aclose()
        assert theirs.recv(1000) == b"x" * 200


def test_installing_puts_the_fixed_class_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "TCPServer", tcp_server.TCPServer)
    hypercorn_fixes.install()
    assert vars(run)["TCPServer"] is FixedTCPServer
