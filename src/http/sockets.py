"""Streams over WebSocket: the same requests and answers, with each SSE frame as one message.

A handshake is passed on as the GET that it is, so that key, routes, refusals and traces are those
of every other request; only what is sent is put differently. A message is
`{"id": 12, "event": "rows", "data": […]}`, with one item of `data` for each data line of the frame.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import msgspec
import trio
from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    ConnectionState,
    HTTPScope,
    WebsocketScope,
)

from ..errors import SeptemberError
from . import errors
from .cors import HeaderList

HttpApp: TypeAlias = Callable[[HTTPScope, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]
"""Answers HTTP requests."""

_STREAM: Final = b"text/event-stream"
_OVER: Final = 1000
_GOING_AWAY: Final = 1001
_BROKEN: Final = 1011
_GOODBYE_S: Final = 0.5

_NO_STREAM: Final = SeptemberError(
    "INVALID_REQUEST",
    "this path is no stream; ask for it without an Upgrade, or open one of those that are:"
    " /traces/stream, /actors/stream, /execute/replay",
)


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One frame as a message."""

    event: str
    data: list[msgspec.Raw]
    id: int | None = None


async def speak(
    scope: WebsocketScope, receive: ASGIReceiveCallable, send: ASGISendCallable, app: HttpApp
) -> None:
    """Answer a handshake by what `app` answers to the GET of its path."""
    socket = _Socket(receive, send)
    try:
        await app(_as_get(scope), socket.receive, socket.send)
    except BaseException as error:
        # Cancelled, alone or in groups, is no Exception: the server goes away.
        await socket.close(_BROKEN if isinstance(error, Exception) else _GOING_AWAY)
        raise


def _as_get(scope: WebsocketScope) -> HTTPScope:
    return {
        "type": "http",
        "asgi": scope["asgi"],
        "http_version": scope["http_version"],
        "method": "GET",
        "scheme": "http",
        "path": scope["path"],
        "raw_path": scope["raw_path"],
        "query_string": scope["query_string"],
        "root_path": scope["root_path"],
        "headers": scope["headers"],
        "client": scope["client"],
        "server": scope["server"],
        "state": ConnectionState({}),  # without the short way past hypercorn, which frames HTTP
        "extensions": {},
    }


class _Socket:
    """A socket that looks like an HTTP exchange; it is accepted when a stream begins."""

    def __init__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        self._receive = receive
        self._send = send
        self._asked = False
        self._accepted = False
        self._ended = False
        self._refusal: tuple[int, HeaderList] | None = None

    async def receive(self) -> ASGIReceiveEvent:
        """A request without a body, and then nothing until the client leaves."""
        if not self._asked:
            self._asked = True
            await self._receive()  # the handshake
            return {"type": "http.request", "body": b"", "more_body": False}
        while (await self._receive())["type"] != "websocket.disconnect":
            pass  # what a client says is not listened to
        self._ended = True
        return {"type": "http.disconnect"}

    async def send(self, event: ASGISendEvent) -> None:
        """Pass on a part of the answer."""
        if event["type"] == "http.response.start":
            await self._begin(event["status"], list(event["headers"]))
        elif event["type"] == "http.response.body":
            await self._go_on(event["body"], more=event["more_body"])

    async def close(self, code: int) -> None:
        """End it, whatever is going on; a client that is gone does not mind."""
        if self._accepted and not self._ended:
            self._ended = True
            with trio.move_on_after(_GOODBYE_S, shield=True):
                await self._send({"type": "websocket.close", "code": code, "reason": None})

    async def _begin(self, status: int, headers: HeaderList) -> None:
        streams = (b"content-type", _STREAM) in headers
        if status == 200 and streams:
            self._accepted = True
            kept = [pair for pair in headers if pair[0] in (b"x-request-id", b"traceparent")]
            await self._send({"type": "websocket.accept", "subprotocol": None, "headers": kept})
        else:
            self._refusal = (status, headers)

    async def _go_on(self, body: bytes, *, more: bool) -> None:
        if self._refusal is not None:
            await self._refuse(*self._refusal, body, more=more)
            return
        for frame in body.split(b"\n\n"):
            message = _message(frame)
            if message is not None and not self._ended:
                text = msgspec.json.encode(message).decode()
                await self._send({"type": "websocket.send", "bytes": None, "text": text})
        if not more:
            await self.close(_OVER)

    async def _refuse(self, status: int, headers: HeaderList, body: bytes, *, more: bool) -> None:
        if status < 400:
            status, body, more = _NO_STREAM.status, errors.envelope(_NO_STREAM), False
            headers = [(b"content-type", b"application/json")]
        await self._send(
            {"type": "websocket.http.response.start", "status": status, "headers": headers}
        )
        await self._send({"type": "websocket.http.response.body", "body": body, "more_body": more})


def _message(frame: bytes) -> Message | None:
    """A frame as a message; a comment is none."""
    lines = [line.partition(b": ") for line in frame.splitlines()]
    named = {name: value.decode() for name, _, value in lines if name in (b"id", b"event")}
    data = [msgspec.Raw(value) for name, _, value in lines if name == b"data"]
    if b"event" not in named:
        return None
    number = named.get(b"id")
    return Message(named[b"event"], data, int(number) if number is not None else None)
