"""A served orchestrator, and what its tests ask of it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx2
import trio

from september.actors import Trace
from september.fleet.backends.fake import World
from september.fleet.tree import Fleet
from september.http.orchestrator.app import orchestrator_app
from september.http.orchestrator.desk import Desk
from september.http.server import ServerTimes, Shutdown, bind, serve

from .stage import Stage, staged

ADMIN = {"X-Admin-Key": "admin-key"}


@dataclass
class Api:
    """A served orchestrator."""

    url: str
    http: httpx2.AsyncClient

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        return await self.http.request(method, self.url + path, json=body, headers=headers)

    async def get(self, path: str, **query: Any) -> Any:
        """What an operator is answered."""
        answer = await self.http.get(self.url + path, params=query, headers=ADMIN)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def register(self, slug: str = "shop", **policy: int) -> dict[str, str]:
        body = {"slug": slug, "display_name": "Shop", "policy": policy}
        answer = await self.http.post(f"{self.url}/products/register", json=body, headers=ADMIN)
        assert answer.status_code == 200, answer.text
        return {"X-Platform-Key": answer.json()["platform_api_key"]}


@asynccontextmanager
async def serving(fleet: Fleet, trace: Trace | None = None) -> AsyncGenerator[Api]:
    """Serve a running orchestrator."""
    shutdown = Shutdown()
    app = orchestrator_app(Desk(fleet), trace)
    async with httpx2.AsyncClient(timeout=20) as http, trio.open_nursery() as nursery:
        times, listener = ServerTimes(drain=1, close=1), bind("127.0.0.1", 0)
        running = partial(serve, app, listener, shutdown, drain=_nothing, times=times)
        yield Api(await nursery.start(running), http)
        shutdown.request()


async def _nothing() -> None:
    pass


@dataclass
class StagedApi(Api):
    """One whose Engines are on a stage."""

    stage: Stage


@asynccontextmanager
async def served(
    url: str, world: World | None = None, **changes: object
) -> AsyncGenerator[StagedApi]:
    """An orchestrator on the fake backend that records itself."""
    trace = Trace()
    async with staged(url, world, None, trace=trace, **changes) as stage:
        async with serving(stage.fleet, trace) as api:
            yield StagedApi(api.url, api.http, stage)
