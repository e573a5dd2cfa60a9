"""The live streams over WebSocket, with a client that is not ours (trio-websocket)."""

import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, open_websocket_url

from september.actors.testing import wait_idle
from tests.brain.raven.stage import Recorded, recorded
from tests.brain.raven.test_why import until
from tests.e2e.harness import KEY

pytestmark = [
    pytest.mark.timeout(60),
    # trio-websocket leaves its socket to the collector when the server closed first
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(autouse=True)
def nothing_is_left_to_the_collector() -> Iterator[None]:
    """Collect what trio-websocket leaves, while its warnings are ignored."""
    yield
    gc.collect()


def socket(stage: Recorded, path: str, key: str = KEY) -> Any:
    url = stage.url.replace("http", "ws", 1) + path
    return open_websocket_url(url, extra_headers=[(b"X-Engine-Key", key.encode())])


async def test_rows_come_as_messages_while_a_turn_runs(tmp_path: Path) -> None:
    async with recorded(tmp_path) as stage, socket(stage, "/traces/stream") as ws:
        await stage.turn()
        seen = set[str]()
        last = 0
        with trio.fail_after(20):
            while "invoke_agent assistant" not in seen:
                message = json.loads(await ws.get_message())
                assert message["event"] == "rows" and message["id"] > last
                last = message["id"]
                seen |= {row["path"] for row in message["data"]}
    assert "chat" in seen


async def test_actors_come_again_and_again(tmp_path: Path) -> None:
    async with recorded(tmp_path) as stage, socket(stage, "/actors/stream?every_ms=100") as ws:
        for _ in range(3):
            with trio.fail_after(10):
                message = json.loads(await ws.get_message())
            (look,) = message["data"]
            assert message["event"] == "actors" and look["actors"][0]["path"] == "engine"


async def test_a_stream_that_ends_closes_its_socket(tmp_path: Path) -> None:
    async with recorded(tmp_path) as stage:
        await stage.turn()
        got: list[Any] = []
        async with socket(stage, "/execute/replay?task_id=task&after=0") as ws:
            with pytest.raises(ConnectionClosed) as closed, trio.fail_after(10):
                while True:
                    got.append(json.loads(await ws.get_message()))
    assert closed.value.reason is not None and closed.value.reason.code == 1000
    assert [one["id"] for one in got] == sorted(one["id"] for one in got)
    assert got[-1]["event"] == "thread_lifecycle" and got[-1]["data"][0]["phase"] == "completed"


@pytest.mark.parametrize(
    ("path", "key", "status", "code"),
    [
        ("/traces/stream", "wrong", 401, "INVALID_KEY"),
        ("/nowhere", KEY, 404, "NOT_FOUND"),
        ("/actors", KEY, 400, "INVALID_REQUEST"),
        ("/actors/stream?every_ms=1", KEY, 422, "INVALID_REQUEST"),
        ("/execute/replay?task_id=unknown", KEY, 404, "TASK_NOT_FOUND"),
    ],
)
async def test_what_is_refused_says_why(
    path: str, key: str, status: int, code: str, tmp_path: Path
) -> None:
    async with recorded(tmp_path) as stage:
        with pytest.raises(ConnectionRejected) as refused:
            async with socket(stage, path, key):
                pass
    assert refused.value.status_code == status
    assert json.loads(refused.value.body or b"{}")["error"] == code


async def ended(stage: Recorded) -> bool:
    return any(one.path == "GET /actors/stream" for one in stage.trace.recent())


async def test_a_client_that_vanishes_leaves_nothing_behind(tmp_path: Path) -> None:
    async with recorded(tmp_path) as stage:
        tcp = await trio.open_tcp_stream("127.0.0.1", int(stage.url.rpartition(":")[2]))
        await tcp.send_all(
            b"GET /actors/stream?every_ms=100 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Version: 13\r\nX-Engine-Key: " + KEY.encode() + b"\r\n\r\n"
        )
        with trio.fail_after(10):
            assert b" 101 " in await tcp.receive_some(4096)
            await tcp.aclose()
            await wait_idle(stage.engine.tree)
            await until(lambda: ended(stage))


async def test_a_shutdown_says_that_the_server_goes_away(tmp_path: Path) -> None:
    async with recorded(tmp_path) as stage, socket(stage, "/actors/stream") as ws:
        await ws.get_message()
        stage.shutdown.request()
        with pytest.raises(ConnectionClosed) as closed, trio.fail_after(10):
            while True:
                await ws.get_message()
    assert closed.value.reason is not None and closed.value.reason.code == 1001
