"""An Engine inside the test's own process, behind its real HTTP server: quick to start."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from september.actors import Trace
from september.brain.catalog import load_catalog
from september.brain.tree import Engine, running_engine
from september.config import load_engine_config
from september.http.app import engine_app
from september.http.auth import KeyRing
from september.http.bridge import EngineBridge
from september.http.serve import http_settings
from september.http.server import ServerTimes, Shutdown, bind, serve
from tests.lineage import ORDERLY

from .client import Client


@dataclass(frozen=True)
class Served:
    """A running Engine: its tree, its address, its brain, and a client for it."""

    engine: Engine
    url: str
    brain: Path
    client: Client


@asynccontextmanager
async def served(env: dict[str, str]) -> AsyncGenerator[Served]:
    """Run the Engine that `env` describes."""
    config = load_engine_config(env)
    key_hash = config.engine_key_hash
    assert key_hash is not None
    trace = Trace()
    ORDERLY.add(config.sqlite_db_path)
    async with running_engine(
        config,
        load_catalog(config.catalog_dir, hooks=config.hooks_settings_load_enabled),
        trace=trace,
    ) as engine:
        bridge = EngineBridge(engine)
        ring = KeyRing.restore(key_hash.reveal())
        app = engine_app(bridge, ring, http_settings(config), trace=trace)
        shutdown = Shutdown()

        async def run(*, task_status: trio.TaskStatus[str]) -> None:
            listener = bind(config.engine_host, config.engine_port)
            times = ServerTimes(drain=1, close=1)
            await serve(
                app, listener, shutdown, drain=_no_drain, times=times, task_status=task_status
            )

        async with trio.open_nursery() as nursery:
            url = await nursery.start(run)
            async with Client(url) as client:
                yield Served(engine, url, config.sqlite_db_path, client)
            shutdown.request()


async def _no_drain() -> None:
    """The turns of a test that is over are not waited for."""
