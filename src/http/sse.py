"""Server-sent events: streams of the Engine's, relayed straight to the wire.

They do not go through Quart, which would iterate a generator (no nursery may be held open across
its chunks), cut it after RESPONSE_TIMEOUT, and take as long to begin as all the rest together.
Neither does health: an Engine is ready before Quart is loaded.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeAlias

import msgspec
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from ..errors import SeptemberError
from . import errors
from .asgi import AsgiApp, send_whole
from .dispatch import dispatch
from .endpoint import AnyEndpoint, Events, Json, Opener, Service
from .hypercorn_fixes import DIRECT
from .visit import VISIT, Visit

ChunkSender: TypeAlias = Callable[[bytes], Awaitable[None]]

HEALTH: Final = "/health"
JSON: Final = (("content-type", "application/json"),)

HEADERS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
"""No cache, proxy or compressor may hold back a frame (nginx: X-Accel-Buffering)."""


def frame(event: str, data: bytes) -> bytes:
    """One SSE frame without an id. Each line of `data` gets a `data:` of its own."""
    lines = b"".join(b"data: %b\n" % line for line in data.splitlines() or [b""])
    return b"event: %b\n%b\n" % (event.encode(), lines)


class StreamLane:
    """An ASGI app that answers streams and health itself and leaves the rest to another."""

    def __init__(self, app: AsgiApp, service: Service, endpoints: tuple[AnyEndpoint, ...]) -> None:
        self._app = app
        self._service = service
        self._own: dict[tuple[str, str], AnyEndpoint] = {
            (one.method, one.path): one for one in endpoints if one.streams or one.path == HEALTH
        }

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        endpoint = self._own.get((scope["method"], scope["path"]))
        if endpoint is None:
            return await self._app(scope, receive, send)
        match await dispatch(endpoint, self._service, VISIT.get(), {}):
            case Events(opener):
                await relay(opener, scope, receive, send)
            case SeptemberError() as refusal:
                await errors.send_refusal(send, refusal)
            case Json(value, status):
                await send_whole(send, status, JSON, msgspec.json.encode(value))
            case other:
                raise TypeError(f"{endpoint.path} answered {other!r}, which is no stream")


async def relay(
    opener: Opener,
    scope: HTTPScope,
    receive: ASGIReceiveCallable,
    send: ASGISendCallable,
    envelope: errors.Envelope = errors.envelope,
) -> None:
    """Open a stream and pass it on, chunk by chunk, until it ends or the client leaves.

    `envelope` makes the body of a refusal.
    """
    tail: bytes | SeptemberError = b""
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as streaming:
            nursery.start_soon(_watch_client, receive, streaming)
            tail = await _pass_on(opener, send, _chunk_sender(scope, send), envelope)
        nursery.cancel_scope.cancel(reason="the stream is over")
    if streaming.cancelled_caught:
        return  # the client has left: there is nobody to say goodbye to
    if isinstance(tail, SeptemberError):
        await errors.send_refusal(send, tail, envelope)
    else:
        await send({"type": "http.response.body", "body": tail, "more_body": False})


async def _pass_on(
    opener: Opener, send: ASGISendCallable, send_chunk: ChunkSender, envelope: errors.Envelope
) -> bytes | SeptemberError:
    """Send what there is; what is left to send, or why there was nothing.

    A stream that breaks in the middle is ended by an `error` frame.
    """
    started = False
    try:
        async with await opener() as stream:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            started = True
            async for chunk in stream.chunks:
                await send_chunk(chunk)
    except (Exception, BaseExceptionGroup) as error:
        refusal = errors.explain(error)
        return frame("error", envelope(refusal)) if started else refusal
    return b""


def _chunk_sender(scope: HTTPScope, send: ASGISendCallable) -> ChunkSender:
    """The shortest way to the client: past hypercorn's layers where the protocol allows it."""
    direct: ChunkSender | None = scope["state"].get(DIRECT)
    if direct is None or scope["http_version"] != "1.1":
        return partial(_send_body, send)
    return partial(_send_direct, direct, VISIT.get())


async def _send_body(send: ASGISendCallable, chunk: bytes) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _send_direct(direct: ChunkSender, visit: Visit, chunk: bytes) -> None:
    visit.sent += len(chunk)  # the gate does not see these
    await direct(chunk)


async def _watch_client(receive: ASGIReceiveCallable, streaming: trio.CancelScope) -> None:
    """The body has been read, so all that can still come is that the client leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass
    streaming.cancel(reason="the client left")
