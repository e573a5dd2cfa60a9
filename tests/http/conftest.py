"""A real server in front of a fake Engine, and clients for it."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2
import pytest
import trio

from september.http.app import engine_app
from september.http.auth import KeyRing
from september.http.endpoint import HttpSettings
from september.http.server import ServerTimes, Shutdown, bind, serve

from .fake_engine import FakeEngine

KEY = "test-key"
KEY_HASH = hashlib.sha256(KEY.encode()).hexdigest()


@dataclass
class Served:
    """A running server: how to talk to it, and what stands behind it."""

    url: str
    engine: FakeEngine
    keys: KeyRing
    shutdown: Shutdown
    stopped: trio.Event

    def client(self, key: str | None = KEY) -> httpx2.AsyncClient:
        headers = {"X-Engine-Key": key} if key is not None else {}
        return httpx2.AsyncClient(base_url=self.url, headers=headers, timeout=10)

    async def connect(self) -> trio.SocketStream:
        """A bare connection, for what no well-behaved client does."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None and parts.port is not None
        return await trio.open_tcp_stream(parts.hostname, parts.port)


@asynccontextmanager
async def serving(
    engine: FakeEngine | None = None,
    settings: HttpSettings | None = None,
    *,
    clock: Callable[[], float] | None = None,
    times: ServerTimes | None = None,
) -> AsyncGenerator[Served, None]:
    engine = engine or FakeEngine()
    keys = KeyRing.restore(KEY_HASH, None, *([clock] if clock else []))
    app = engine_app(engine, keys, settings)
    shutdown, stopped = Shutdown(), trio.Event()

    async def run(*, task_status: trio.TaskStatus[str]) -> None:
        await serve(
            app,
            bind("127.0.0.1", 0),
            shutdown,
            drain=engine.drain,
            times=times or ServerTimes(drain=5, close=1),
            task_status=task_status,
        )
        stopped.set()

    async with trio.open_nursery() as nursery:
        url = await nursery.start(run)
        yield Served(url, engine, keys, shutdown, stopped)
        shutdown.request()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """All bodies have one limit here; what media may have more is tests/e2e/test_media.py's."""
    async with serving(settings=HttpSettings(media_max_body_bytes=2**20)) as running:
        yield running
