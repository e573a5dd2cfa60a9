"""A real Engine process and a client for it, as its users would have them."""

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any

import httpx2
import trio

KEY = "an-engine-key-for-tests"
BOOT_S = 30.0


@dataclass(frozen=True)
class Event:
    """One SSE frame."""

    id: int
    name: str
    data: dict[str, Any]


@dataclass
class Engine:
    """A running Engine process. `log` is everything it printed."""

    process: trio.Process
    url: str
    log: list[str] = field(default_factory=list[str])

    def kill(self) -> None:
        """Kill it as a power cut would: no handler runs."""
        os.kill(self.process.pid, signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to drain and stop."""
        os.kill(self.process.pid, signal.SIGTERM)


def settings(folder: Path, **more: str) -> dict[str, str]:
    """The environment of an Engine whose brain is in `folder`."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "ENGINE_API_KEY": KEY,
        "ENGINE_PORT": "0",
        "LLM_PROVIDER": "scripted",
        "SQLITE_DB_PATH": str(folder / "brain.sqlite"),
        **more,
    }


@asynccontextmanager
async def running_engine(env: dict[str, str]) -> AsyncIterator[Engine]:
    """Start an Engine, wait until it serves, and make sure that it is gone afterwards."""
    async with trio.open_nursery() as nursery:
        process = await nursery.start(_run, env)
        engine = Engine(process, "")
        ready = trio.Event()
        nursery.start_soon(_read_log, engine, ready)
        try:
            with trio.fail_after(BOOT_S):
                await ready.wait()
            if not engine.url:
                raise AssertionError("the Engine did not start:\n" + "\n".join(engine.log))
            yield engine
        finally:
            if process.returncode is None:
                engine.kill()
            nursery.cancel_scope.cancel()


async def _run(
    env: dict[str, str], task_status: trio.TaskStatus[trio.Process] = trio.TASK_STATUS_IGNORED
) -> None:
    command = [sys.executable, "-m", "september", "engine"]
    process = await trio.lowlevel.open_process(
        command, env=env, stdin=None, stdout=PIPE, stderr=STDOUT, cwd="/"
    )
    task_status.started(process)
    await process.wait()


async def _read_log(engine: Engine, ready: trio.Event) -> None:
    """Collect what the Engine prints; its address is in the line that says it is ready."""
    assert engine.process.stdout is not None
    buffer = b""
    async with engine.process.stdout as stdout:
        async for chunk in stdout:
            *lines, buffer = (buffer + chunk).split(b"\n")
            for raw in lines:
                line = raw.decode(errors="replace")
                engine.log.append(line)
                if not engine.url and '"engine ready"' in line:
                    engine.url = json.loads(line)["extra"]["url"]
                    ready.set()
    ready.set()


class Client:
    """Speaks to one Engine, and keeps every event it has seen."""

    def __init__(self, url: str, key: str = KEY) -> None:
        self._http = httpx2.AsyncClient(
            base_url=url, headers={"X-Engine-Key": key}, timeout=httpx2.Timeout(30.0)
        )

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def get(self, path: str, **query: Any) -> Any:
        """GET, and the JSON answer."""
        return (await self._http.get(path, params=query)).json()

    async def post(self, path: str, body: object, **headers: str) -> httpx2.Response:
        """POST JSON."""
        return await self._http.post(path, json=body, headers=headers)

    @asynccontextmanager
    async def execute(
        self,
        message: str,
        task_id: str = "task",
        headers: dict[str, str] | None = None,
        **body: Any,
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """Run a turn; its events come as they are sent."""
        payload = {"message": message, "task_id": task_id, **body}
        request = self._http.build_request("POST", "/execute", json=payload, headers=headers)
        async with self._streamed(request) as events:
            yield events

    @asynccontextmanager
    async def replay(
        self, last_id: int | None = None, **query: Any
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """Follow from an event on."""
        headers = {} if last_id is None else {"Last-Event-ID": str(last_id)}
        request = self._http.build_request("GET", "/execute/replay", params=query, headers=headers)
        async with self._streamed(request) as events:
            yield events

    @asynccontextmanager
    async def _streamed(self, request: httpx2.Request) -> AsyncIterator[AsyncIterator[Event]]:
        response = await self._http.send(request, stream=True)
        try:
            if response.status_code != 200:
                await response.aread()
                raise AssertionError(f"{response.status_code}: {response.text}")
            events = parsed(response)
            try:
                yield events
            finally:
                await events.aclose()  # type: ignore[attr-defined]
        finally:
            await response.aclose()

    async def turn(self, message: str, task_id: str = "task", **body: Any) -> list[Event]:
        """Run a turn to its end."""
        async with self.execute(message, task_id, **body) as events:
            return [event async for event in events]


async def parsed(response: httpx2.Response) -> AsyncIterator[Event]:
    """The frames of an SSE answer."""
    frame: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            frame[name] = value
        elif frame:
            yield Event(int(frame["id"]), frame["event"], json.loads(frame["data"]))
            frame = {}


def text_of(events: list[Event]) -> str:
    """All text of a turn."""
    return "".join(event.data["text"] for event in events if event.name == "text_delta")


def phases(events: list[Event]) -> list[str]:
    """The phases of the turn's lifecycle."""
    return [event.data["phase"] for event in events if event.name == "thread_lifecycle"]
