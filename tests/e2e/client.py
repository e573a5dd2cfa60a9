"""A client of the Engine that takes nothing for granted: strict about frames, raw about cuts."""

import json
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx2

from .harness import KEY
from .wire import Exchange, exchanged

TIMEOUT = httpx2.Timeout(60.0)


@dataclass(frozen=True)
class Event:
    """One SSE frame."""

    id: int
    name: str
    data: dict[str, Any]

    @property
    def closes(self) -> bool:
        """Whether it is the last one of its turn (contract, section 5)."""
        return self.name == "error" or self.data.get("phase") in ("completed", "cancelled")


class Refused(Exception):
    """The Engine answered with an error. `error` is its code."""

    def __init__(self, status: int, headers: Mapping[str, str], text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.text = text
        self.body: dict[str, Any] = json.loads(text)
        self.error: str = self.body["error"]


class Stream:
    """An open stream of events; `seen` and `raw` are what came so far."""

    def __init__(self, exchange: Exchange) -> None:
        self.seen: list[Event] = []
        self.raw = b""
        self.exchange = exchange
        self._frames: deque[bytes] = deque()
        self._pending = b""

    @property
    def cut(self) -> bool:
        """Whether it broke off."""
        return self.exchange.cut

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> Event:
        while not self._frames:
            chunk = await self.exchange.chunk()
            if not chunk:
                assert self.cut or not self._pending, f"it ended within a frame: {self._pending!r}"
                raise StopAsyncIteration
            self.raw += chunk
            *frames, self._pending = (self._pending + chunk).split(b"\n\n")
            self._frames.extend(frames)
        event = parsed(self._frames.popleft())
        self.seen.append(event)
        return event

    async def until(self, wanted: str | Callable[[Event], bool]) -> Event:
        """Read up to an event: one of this name, or that satisfies this condition."""
        async for event in self:
            if event.name == wanted if isinstance(wanted, str) else wanted(event):
                return event
        raise AssertionError(f"the stream ended first: {self.seen}")

    async def rest(self) -> list[Event]:
        """Read to the end; all that was seen from the beginning."""
        async for _ in self:
            pass
        return self.seen


def parsed(frame: bytes) -> Event:
    """A frame as the Engine must write it: id, event, data, one line each."""
    fields = [line.partition(": ") for line in frame.decode().split("\n")]
    names = [name for name, _, _ in fields]
    assert names == ["id", "event", "data"], f"not a frame of the Engine's: {frame!r}"
    return Event(int(fields[0][2]), fields[1][2], json.loads(fields[2][2]))


class Client:
    """Speaks to one Engine."""

    def __init__(self, url: str, key: str = KEY) -> None:
        self._url = url
        self._key = key
        headers = {"X-Engine-Key": key}
        self.http = httpx2.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT)

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def get(self, path: str, **query: Any) -> Any:
        """GET, and the JSON answer. Raises Refused."""
        return _answer(await self.http.get(path, params=query))

    async def post(self, path: str, body: object) -> Any:
        """POST JSON, and the JSON answer. Raises Refused."""
        return _answer(await self.http.post(path, json=body))

    @asynccontextmanager
    async def execute(
        self,
        message: str = "go",
        task_id: str = "task",
        headers: Mapping[str, str] | None = None,
        **body: Any,
    ) -> AsyncGenerator[Stream]:
        """Run a turn; its events come as they are sent. Raises Refused."""
        payload = {"message": message, "task_id": task_id, **body}
        async with self._streamed("POST", "/execute", headers or {}, payload) as stream:
            yield stream

    @asynccontextmanager
    async def replay(self, last_id: int | None = None, **query: Any) -> AsyncGenerator[Stream]:
        """Read events again, and follow. `last_id` goes into Last-Event-ID. Raises Refused."""
        headers = {} if last_id is None else {"Last-Event-ID": str(last_id)}
        async with self._streamed("GET", f"/execute/replay?{urlencode(query)}", headers) as stream:
            yield stream

    @asynccontextmanager
    async def _streamed(
        self, method: str, target: str, headers: Mapping[str, str], payload: object = None
    ) -> AsyncGenerator[Stream]:
        body = json.dumps(payload).encode() if payload is not None else b""
        fields = {"X-Engine-Key": self._key, "Content-Type": "application/json", **headers}
        async with exchanged(self._url, method, target, fields, body) as exchange:
            if exchange.status != 200:
                text = (await exchange.body()).decode()
                raise Refused(exchange.status, exchange.headers, text)
            assert exchange.headers["content-type"] == "text/event-stream"
            yield Stream(exchange)

    async def turn(
        self,
        message: str = "go",
        task_id: str = "task",
        headers: Mapping[str, str] | None = None,
        **body: Any,
    ) -> list[Event]:
        """Run a turn to its end. Raises Refused."""
        async with self.execute(message, task_id, headers, **body) as stream:
            return await stream.rest()

    async def replayed(self, last_id: int | None = None, **query: Any) -> list[Event]:
        """Read events again, to the end of the stream."""
        async with self.replay(last_id, **query) as stream:
            return await stream.rest()

    async def cancel(self, task_id: str = "task") -> Any:
        """End the task's turn."""
        return await self.post("/execute/cancel", {"task_id": task_id})

    async def answer(self, answer: str, task_id: str = "task", **more: Any) -> Any:
        """Answer the question that a task waits on."""
        return await self.post("/hitl/respond", {"task_id": task_id, "answer": answer, **more})

    async def messages(self, task_id: str = "task") -> list[dict[str, Any]]:
        """The task's transcript."""
        messages: list[dict[str, Any]] = (await self.get(f"/conversations/{task_id}"))["messages"]
        return messages


def _answer(response: httpx2.Response) -> Any:
    if not response.is_success:
        raise Refused(response.status_code, response.headers, response.text)
    return response.json()


def text_of(events: list[Event]) -> str:
    """All text of a turn."""
    return "".join(event.data["text"] for event in events if event.name == "text_delta")


def phases(events: list[Event]) -> list[str]:
    """The phases of the turn's lifecycle."""
    return [event.data["phase"] for event in events if event.name == "thread_lifecycle"]


def named(events: list[Event], name: str) -> list[dict[str, Any]]:
    """The data of all events of this name, in order."""
    return [event.data for event in events if event.name == name]


def ids(events: list[Event]) -> list[int]:
    """The ids, in order."""
    return [event.id for event in events]
