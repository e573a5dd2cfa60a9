"""A client of the Engine's stream: posts a turn once and follows it to its end, through cuts."""

import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias, cast, get_args
from uuid import uuid4

import httpx2
import msgspec
import trio

from ..brain.channels.events import Error, Event, closes
from ..errors import SeptemberError

_EVENTS: Final[Mapping[str, type[Event]]] = {event.type: event for event in get_args(Event)}

_TIMEOUT: Final = httpx2.Timeout(10, read=45)
"""Seconds. A stream is never silent longer than the 15 s between two heartbeats."""

_AWAY: Final = frozenset({502, 503, 504})
"""Statuses of an Engine that starts, drains or is being replaced: worth another try."""


@dataclass(frozen=True, slots=True)
class Received:
    """One event as it came; `event` is None where this client does not understand it."""

    id: int
    name: str
    data: str
    event: Event | None


Tell: TypeAlias = Callable[[Received], None]


class EngineUnreachable(SeptemberError):
    """No answer from the Engine, or its stream was cut and could not be taken up again."""

    def __init__(self, message: str) -> None:
        super().__init__("ENGINE_UNREACHABLE", message)


Stream: TypeAlias = AbstractAsyncContextManager[httpx2.EventSource]


@dataclass(frozen=True, slots=True)
class NewTurn:
    """A turn to run. The Idempotency-Key makes it safe to post it again."""

    task_id: str
    message: str
    agent: str | None = None
    idempotency_key: str = field(default_factory=lambda: uuid4().hex)

    def open(self, http: httpx2.AsyncClient) -> Stream:
        """Post it, or attach to it if it was posted before."""
        body = {"task_id": self.task_id, "message": self.message}
        if self.agent is not None:
            body["agent"] = self.agent
        headers = {"Idempotency-Key": self.idempotency_key}
        return http.sse("/execute", method="POST", json=body, headers=headers, max_event_size=None)


@dataclass(frozen=True, slots=True)
class WaitingTurn:
    """A turn that waits for a person's answer; `since` is when it began to, in ms."""

    task_id: str
    since: int

    def open(self, http: httpx2.AsyncClient) -> Stream:
        """Replay it from its question on."""
        params = {"task_id": self.task_id, "after": str(self.since - 1)}
        return http.sse("/execute/replay", params=params, max_event_size=None)


TurnToFollow: TypeAlias = NewTurn | WaitingTurn


@dataclass(slots=True)
class Backoff:
    """Waits between attempts: doubling, with full jitter, for at most `patience` seconds.

    Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter
    """

    patience: float = 60.0
    first: float = 0.2
    longest: float = 5.0
    _delay: float = field(init=False)
    _until: float = field(init=False)

    def __post_init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """There was progress: the next wait is short again."""
        self._delay = self.first
        self._until = trio.current_time() + self.patience

    async def wait(self) -> bool:
        """Wait; False if patience has run out."""
        if trio.current_time() >= self._until:
            return False
        await trio.sleep(random.uniform(0, self._delay))
        self._delay = min(2 * self._delay, self.longest)
        return True


@dataclass(frozen=True, slots=True)
class EngineClient:
    """Speaks to one Engine. `on_cut` is told why a stream broke, before it is taken up again.

    Methods raise SeptemberError with the Engine's code if it refuses, EngineUnreachable if it
    does not answer.
    """

    http: httpx2.AsyncClient
    on_cut: Callable[[str], None]
    patience: float = 60.0

    async def follow(self, turn: TurnToFollow, tell: Tell) -> None:
        """Tell each event of the turn exactly once, in order, to the last.

        A broken stream is taken up again unless that fails for `patience` seconds.
        """
        follower = _Follower(self.http, turn, tell)
        backoff = Backoff(self.patience)
        while True:
            seen = follower.last_id
            cut = await follower.attempt()
            if cut is None:
                return
            if follower.last_id > seen:
                backoff.begin_anew()
            self.on_cut(cut)
            if not await backoff.wait():
                raise EngineUnreachable(
                    f"lost the stream of task {turn.task_id} ({cut}); the turn may still run: "
                    f"read it later with GET /execute/replay?task_id={turn.task_id}"
                )

    async def waiting(self, task_id: str) -> WaitingTurn | None:
        """The task's turn if it waits for an answer."""
        response = await self._send("GET", "/hitl/pending")
        body = msgspec.json.decode(response.content, type=_PendingList)
        since = [_ms(item.created_at) for item in body.pending if item.task_id == task_id]
        return WaitingTurn(task_id, min(since)) if since else None

    async def cancel(self, task_id: str) -> None:
        """End the task's running turn."""
        await self._send("POST", "/execute/cancel", {"task_id": task_id})

    async def respond(self, task_id: str, request_id: str, answer: str) -> None:
        """Answer a question of the turn."""
        body = {"task_id": task_id, "request_id": request_id, "answer": answer}
        await self._send("POST", "/hitl/respond", body)

    async def _send(
        self, method: str, path: str, body: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        try:
            response = await self.http.request(method, path, json=body)
        except httpx2.TransportError as error:
            raise _unreachable(self.http, error) from error
        if not response.is_success:
            raise _refusal(response)
        return response


@asynccontextmanager
async def connected(
    url: str, key: str, on_cut: Callable[[str], None]
) -> AsyncGenerator[EngineClient]:
    """A client of the Engine at `url`; `on_cut` hears of each broken stream."""
    headers = {"X-Engine-Key": key}
    async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=_TIMEOUT) as http:
        yield EngineClient(http, on_cut)


class _Follower:
    """What is known of one turn's stream: the last event seen."""

    def __init__(self, http: httpx2.AsyncClient, turn: TurnToFollow, tell: Tell) -> None:
        self.last_id = 0
        self._reached = False
        self._closed = False
        self._broken = ""
        self._http = http
        self._turn = turn
        self._tell = tell

    async def attempt(self) -> str | None:
        """Follow the stream once: None if the turn closed, otherwise why the stream broke."""
        try:
            return await self._follow()
        except httpx2.TransportError as error:
            return None if self._closed else self._why(error)

    def _why(self, error: httpx2.TransportError) -> str:
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            if not self._reached:
                raise _unreachable(self._http, error) from error
            return "cannot connect"
        self._reached = True  # the turn may have begun: post it again, with the same key
        return str(error) or type(error).__name__

    async def _follow(self) -> str | None:
        async with self._connect() as source:
            self._reached = True
            response = source.response
            if not response.is_success:
                await response.aread()
                if self.last_id and response.status_code in _AWAY:
                    return f"the Engine answers {response.status_code}"
                raise _refusal(response)
            async for sse in source:  # to the very end: httpx2 leaks a stream left half-way
                self._take(_received(sse))
        return None if self._closed else self._broken or "the stream ended early"

    def _take(self, received: Received) -> None:
        """Tell an event that is new; an `error` without an id is the stream's, not the turn's."""
        if received.id > self.last_id:
            self.last_id = received.id
            self._tell(received)
            self._closed = received.event is not None and closes(received.event)
        elif isinstance(received.event, Error):
            self._broken = received.event.message

    def _connect(self) -> Stream:
        """Open the turn until something of it was seen; from then on replay what is missing."""
        if not self.last_id:
            return self._turn.open(self._http)
        return self._http.sse(
            "/execute/replay",
            params={"task_id": self._turn.task_id},
            headers={"Last-Event-ID": str(self.last_id)},
            max_event_size=None,
        )


class _PendingItem(msgspec.Struct):
    task_id: str
    created_at: str


class _PendingList(msgspec.Struct):
    pending: list[_PendingItem]


def _ms(timestamp: str) -> int:
    return int(datetime.fromisoformat(timestamp).timestamp() * 1000)


def _received(sse: httpx2.ServerSentEvent) -> Received:
    kind = _EVENTS.get(sse.event)
    try:
        event = None if kind is None else msgspec.json.decode(sse.data, type=kind)
    except msgspec.ValidationError:  # an Engine of another version
        event = None
    return Received(int(sse.id) if sse.id.isdecimal() else 0, sse.event, sse.data, event)


def _unreachable(http: httpx2.AsyncClient, error: Exception) -> EngineUnreachable:
    return EngineUnreachable(
        f"no Engine answers at {http.base_url} ({error}). Start one with: september engine, "
        "or name another with --url"
    )


def _refusal(response: httpx2.Response) -> SeptemberError:
    """The Engine's error envelope as an exception."""
    try:
        body = cast("object", response.json())
    except ValueError:
        body = None
    match body:
        case {"error": str(code), "message": str(message)}:
            return SeptemberError(code, f"{code}: {message}")
        case _:
            return EngineUnreachable(
                f"{response.url} answered {response.status_code}, and not as an Engine does",
            )
