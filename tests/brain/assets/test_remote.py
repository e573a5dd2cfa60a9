"""The same servers over streamable HTTP, SSE and WebSocket; sampling, elicitation, changes."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

from september.actors import ActorRef
from september.brain.assets.actions import Caller, Content
from september.brain.assets.connection import CallAction, ConnectionMessage
from september.brain.assets.directory import (
    Connect,
    Connected,
    Disconnect,
    ListActions,
    ListConnections,
    Reach,
)
from september.brain.hitl import Answer
from september.brain.tree import Engine
from september.errors import SeptemberError

from .conftest import descendants, engine_with, open_descriptors, python_server, until

# The SDK leaves the generators of a stream that it left to the collector; the response is closed.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning")

LONG = CallAction("trigger-long-running-operation", {"duration": 60, "steps": 2})
ECHO = CallAction("echo", {"message": "hello"})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def everything(modules: Path, mode: str, port: int) -> AsyncGenerator[trio.Process]:
    """server-everything as a process that listens on `port`."""
    script = modules / "server-everything" / "dist" / "index.js"
    process = await trio.lowlevel.open_process(
        ["node", str(script), mode],
        env={**os.environ, "PORT": str(port), "HOST": "127.0.0.1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with trio.fail_after(20):
            await _listening(port)
        yield process
    finally:
        process.kill()
        await process.wait()


async def _listening(port: int) -> None:
    while True:
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
        except OSError:
            await trio.sleep(0.05)
        else:
            await stream.aclose()
            return


def remote(transport: str, url: str) -> dict[str, object]:
    return {
        "name": "everything",
        "transport": transport,
        "url": url,
        "connect_timeout_s": 15,
        "timeout_s": 20,
    }


MODES = {"http": ("streamableHttp", "/mcp"), "sse": ("sse", "/sse")}


async def connected(engine: Engine, name: str = "everything") -> ActorRef[ConnectionMessage]:
    made = await engine.assets.call(Connect(name))
    assert isinstance(made, Connected), made
    assert made.status == "connected", made
    found = await engine.assets.call(Reach(name))
    assert not isinstance(found, SeptemberError)
    return found


async def text_of(connection: ActorRef[ConnectionMessage], call: CallAction) -> str:
    answer = await connection.call(call)
    assert isinstance(answer, Content), answer
    return answer.text


@pytest.mark.parametrize("transport", MODES)
async def test_everything_is_driven_over_the_network(
    npm_modules: Path, tmp_path: Path, transport: str
) -> None:
    mode, path = MODES[transport]
    port = free_port()
    async with everything(npm_modules, mode, port):
        server = remote(transport, f"http://127.0.0.1:{port}{path}")
        async with engine_with(tmp_path, server) as engine:
            connection = await connected(engine)
            assert await text_of(connection, ECHO) == "Echo: hello"
            with trio.move_on_after(0.3) as patience:
                await connection.call(LONG)
            assert patience.cancelled_caught
            assert await text_of(connection, ECHO) == "Echo: hello"
            (made,) = await engine.assets.call(ListConnections())
            assert await engine.assets.call(Disconnect(made.ref_id)) is None


@pytest.mark.parametrize("transport", MODES)
async def test_connecting_over_the_network_many_times_leaves_no_descriptor(
    npm_modules: Path, tmp_path: Path, transport: str
) -> None:
    mode, path = MODES[transport]
    port = free_port()
    async with everything(npm_modules, mode, port):
        server = remote(transport, f"http://127.0.0.1:{port}{path}")
        async with engine_with(tmp_path, server) as engine:
            descriptors: list[str] = []
            for number in range(42):
                made = await engine.assets.call(Connect("everything"))
                assert isinstance(made, Connected) and made.status == "connected", made
                assert await engine.assets.call(Disconnect(made.ref_id)) is None
                if number == 1:
                    descriptors = open_descriptors()
            await until(lambda: open_descriptors() == descriptors)


@pytest.mark.parametrize("transport", MODES)
async def test_a_server_that_is_killed_fails_its_call_and_is_found_again(
    npm_modules: Path, tmp_path: Path, transport: str
) -> None:
    mode, path = MODES[transport]
    port = free_port()
    server = remote(transport, f"http://127.0.0.1:{port}{path}")
    async with engine_with(tmp_path, server) as engine:
        async with everything(npm_modules, mode, port) as process, trio.open_nursery() as nursery:
            connection = await connected(engine)

            async def kill() -> None:
                await trio.sleep(0.5)
                process.kill()

            nursery.start_soon(kill)
            began = trio.current_time()
            answer = await connection.call(LONG)
            assert isinstance(answer, SeptemberError)
            assert answer.code == "MCP_CONNECTION_FAILED"
            assert trio.current_time() - began < 1.5
        began = trio.current_time()
        assert isinstance(await connection.call(ECHO), SeptemberError)
        assert trio.current_time() - began < 1
        async with everything(npm_modules, mode, port):
            with trio.fail_after(15):
                again: Content | SeptemberError = answer
                while not isinstance(again, Content):
                    again = await connection.call(ECHO)
            assert again.text == "Echo: hello"


@asynccontextmanager
async def websocket_bridge(modules: Path) -> AsyncGenerator[int]:
    """server-everything behind a WebSocket: each connection has a process of its own."""
    script = modules / "server-everything" / "dist" / "index.js"

    async def handle(request: WebSocketRequest) -> None:
        socket = await request.accept(subprotocol="mcp")
        process = await trio.lowlevel.open_process(
            ["node", str(script), "stdio"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_to_socket, process.stdout, socket)
                try:
                    while True:
                        message = await socket.get_message()
                        assert isinstance(message, str)
                        await process.stdin.send_all(message.encode() + b"\n")
                except (ConnectionClosed, trio.BrokenResourceError):
                    nursery.cancel_scope.cancel()
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
                await process.stdin.aclose()
                await process.stdout.aclose()

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, handle, "127.0.0.1", 0, None)
        yield server.port
        nursery.cancel_scope.cancel()


async def _to_socket(stdout: trio.abc.ReceiveStream, socket: object) -> None:
    rest = b""
    async for chunk in stdout:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            await socket.send_message(line.decode())  # type: ignore[attr-defined]
    await socket.aclose()  # type: ignore[attr-defined]


async def test_everything_is_driven_over_a_websocket(npm_modules: Path, tmp_path: Path) -> None:
    async with websocket_bridge(npm_modules) as port:
        server = remote("websocket", f"ws://127.0.0.1:{port}/")
        async with engine_with(tmp_path, server) as engine:
            connection = await connected(engine)
            assert await text_of(connection, ECHO) == "Echo: hello"
            with trio.move_on_after(0.3):
                await connection.call(LONG)
            assert await text_of(connection, ECHO) == "Echo: hello"


async def test_a_websocket_that_breaks_fails_its_call_and_is_opened_anew(
    npm_modules: Path, tmp_path: Path
) -> None:
    before = descendants()
    async with websocket_bridge(npm_modules) as port:
        server = remote("websocket", f"ws://127.0.0.1:{port}/")
        async with engine_with(tmp_path, server) as engine, trio.open_nursery() as nursery:
            connection = await connected(engine)

            async def kill() -> None:
                await trio.sleep(0.3)
                for pid in descendants() - before:
                    os.kill(pid, signal.SIGKILL)

            nursery.start_soon(kill)
            with trio.fail_after(1.3):
                answer = await connection.call(LONG)
            assert isinstance(answer, SeptemberError)
            assert answer.code == "MCP_CONNECTION_FAILED"
            assert await text_of(connection, ECHO) == "Echo: hello"


async def test_nothing_listens_is_said_within_a_second(tmp_path: Path) -> None:
    for transport in ("http", "sse", "websocket"):
        scheme = "ws" if transport == "websocket" else "http"
        server = remote(transport, f"{scheme}://127.0.0.1:{free_port()}/x")
        async with engine_with(tmp_path, server) as engine:
            with trio.fail_after(2):
                refused = await engine.assets.call(Connect("everything"))
            assert isinstance(refused, SeptemberError), transport
            assert refused.code == "MCP_CONNECTION_FAILED"


async def test_a_server_asks_the_model_and_the_person(npm_modules: Path, tmp_path: Path) -> None:
    port = free_port()
    asked: list[str] = []

    async def ask(question: str, options: tuple[str, ...]) -> Answer:
        asked.append(question)
        return Answer("user", '{"name": "Ada"}')

    async with everything(npm_modules, "streamableHttp", port):
        server = remote("http", f"http://127.0.0.1:{port}/mcp")
        async with engine_with(tmp_path, server) as engine:
            connection = await connected(engine)
            sampled = CallAction("trigger-sampling-request", {"prompt": "hi", "maxTokens": 50})
            assert "scripted" in await text_of(connection, sampled)
            elicit = CallAction("trigger-elicitation-request", {}, Caller(ask))
            assert "Ada" in await text_of(connection, elicit)
            assert asked
            declined = CallAction("trigger-elicitation-request", {})
            assert "declined" in (await text_of(connection, declined)).lower()


async def test_a_person_may_take_longer_than_the_servers_timeout(
    npm_modules: Path, tmp_path: Path
) -> None:
    port = free_port()

    async def ask(question: str, options: tuple[str, ...]) -> Answer:
        await trio.sleep(1.0)  # of a server's patience, which is the matter here
        return Answer("user", '{"name": "Ada"}')

    async with everything(npm_modules, "streamableHttp", port):
        server = {**remote("http", f"http://127.0.0.1:{port}/mcp"), "timeout_s": 0.5}
        async with engine_with(tmp_path, server) as engine:
            connection = await connected(engine)
            elicit = CallAction("trigger-elicitation-request", {}, Caller(ask))
            assert "Ada" in await text_of(connection, elicit)
            silent = await connection.call(LONG)
            assert isinstance(silent, SeptemberError) and "silent" in silent.message


GROWING = '''
from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("growing")


@server.tool()
async def grow(ctx: Context) -> str:
    """Offer one more action."""
    server.add_tool(lambda: "new", name="sprout", description="New")
    await ctx.notify_tools_changed()
    return "grown"


server.run("stdio")
'''


def scripted(folder: Path, name: str, source: str) -> dict[str, object]:
    """A stdio server that is written into `folder`."""
    script = folder / f"{name}.py"
    script.write_text(source)
    readable = [str(script), sys.prefix, sys.base_prefix]
    return {**python_server(name, "x"), "args": [str(script)], "readable": readable}


async def test_actions_are_listed_again_when_they_change(tmp_path: Path) -> None:
    async with engine_with(tmp_path, scripted(tmp_path, "growing", GROWING)) as engine:
        connection = await connected(engine, "growing")
        before = await engine.assets.call(ListActions())
        assert [one.name for one in before] == ["grow"]
        assert await text_of(connection, CallAction("grow", {})) == "grown"
        with trio.fail_after(5):
            while len(await engine.assets.call(ListActions())) < 2:  # noqa: ASYNC110
                await trio.sleep(0.02)
        assert await text_of(connection, CallAction("sprout", {})) == "new"


WAITING = '''
import sys
from pathlib import Path

import anyio
from mcp.server.mcpserver import MCPServer

server = MCPServer("waiting")


@server.tool()
async def wait() -> str:
    """Wait until cancelled, and leave a note of that."""
    try:
        await anyio.sleep_forever()
    except anyio.get_cancelled_exc_class():
        Path("cancelled").write_text("yes")
        raise
    return ""


@server.tool()
async def begun() -> str:
    """Answer."""
    return "yes"


server.run("stdio")
'''


async def test_a_server_is_told_that_a_call_is_cancelled(tmp_path: Path) -> None:
    async with engine_with(tmp_path, scripted(tmp_path, "waiting", WAITING)) as engine:
        connection = await connected(engine, "waiting")
        note = engine.config.workspace_root.parent / "connectors" / "waiting" / "cancelled"
        with trio.move_on_after(0.5):
            await connection.call(CallAction("wait", {}))
        await until(note.exists)
        assert await text_of(connection, CallAction("begun", {})) == "yes"
