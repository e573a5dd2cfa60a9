"""An Engine that records itself, behind its HTTP server, with a script for its model."""

import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import trio

from september.actors import Trace
from september.brain.catalog import load_catalog
from september.brain.tree import Engine, running_engine
from september.config import load_engine_config
from september.http.app import engine_app
from september.http.auth import KeyRing
from september.http.bridge import EngineBridge
from september.http.server import ServerTimes, Shutdown, bind, serve
from tests.e2e.client import Client
from tests.e2e.harness import KEY
from tests.lineage import ORDERLY


@dataclass(frozen=True)
class Recorded:
    """A running Engine that records itself, and a client with its key."""

    engine: Engine
    trace: Trace
    http: httpx2.AsyncClient
    url: str
    client: Client
    shutdown: Shutdown

    async def turn(self, message: str = "go", task_id: str = "task", **body: Any) -> str:
        """Run a turn to the end of its stream; the text of the stream."""
        payload = {"task_id": task_id, "message": message, **body}
        return (await self.http.post("/execute", json=payload)).text

    async def get(self, path: str, **query: Any) -> Any:
        """The JSON of an answer."""
        answer = await self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def why(self, target: str) -> Any:
        """The explanation of `target`."""
        return await self.get("/traces/why", of=target)


def settings(folder: Path, *rules: dict[str, Any], **more: str) -> dict[str, str]:
    """The environment of an Engine in `folder` whose model plays `rules`."""
    script = folder / "rules.json"
    script.write_text(json.dumps({"rule": rules or [{"steps": [{"text": "Done."}]}]}))
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "ENGINE_API_KEY": KEY,
        "ENGINE_PORT": "0",
        "LLM_PROVIDER": "scripted",
        "SCRIPTED_RULES": str(script),
        "SQLITE_DB_PATH": str(folder / "brain.sqlite"),
        **more,
    }


@asynccontextmanager
async def recorded(folder: Path, *rules: dict[str, Any], **more: str) -> AsyncGenerator[Recorded]:
    """Run it."""
    config = load_engine_config(settings(folder, *rules, **more))
    assert config.engine_key_hash is not None
    trace = Trace()
    ORDERLY.add(config.sqlite_db_path)
    async with running_engine(config, load_catalog(config.catalog_dir), trace=trace) as engine:
        keys = KeyRing.restore(config.engine_key_hash.reveal())
        app = engine_app(EngineBridge(engine), keys, trace=trace)
        shutdown = Shutdown()

        async def run(task_status: trio.TaskStatus[str]) -> None:
            times = ServerTimes(drain=1, close=1)
            listener = bind(config.engine_host, config.engine_port)
            await serve(
                app, listener, shutdown, drain=_no_drain, times=times, task_status=task_status
            )

        async with trio.open_nursery() as nursery:
            url = await nursery.start(run)
            headers = {"X-Engine-Key": KEY}
            async with (
                httpx2.AsyncClient(base_url=url, headers=headers, timeout=30) as http,
                Client(url) as client,
            ):
                yield Recorded(engine, trace, http, url, client, shutdown)
            shutdown.request()


async def _no_drain() -> None:
    """The turns of a test that is over are not waited for."""


def tool(name: str, **arguments: Any) -> dict[str, Any]:
    """A rule: the first model call asks for this tool."""
    return {"step": 0, "steps": [{"tool": name, "input": arguments}]}


SAY: dict[str, Any] = {"steps": [{"text": "Well then."}]}
"""A rule: whatever the request, some text."""
