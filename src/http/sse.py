"""Server-sent events: a stream of the Engine's, relayed to one client."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from hypercorn.typing import ASGISendCallable
from quart import Response
from quart_trio.asgi import TrioASGIHTTPConnection
from werkzeug.wrappers import Response as WerkzeugResponse

from ..errors import SeptemberError
from . import errors
from .port import Stream

Opener: TypeAlias = Callable[[], Awaitable[Stream]]
"""Opens a stream; a refusal is raised before there is anything to send."""

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


class EventStream(Response):
    """A response that is a stream of events."""

    opener: Opener

    async def relay(self, send: ASGISendCallable) -> None:
        """Open the stream and pass it on, chunk by chunk, until it ends or the client leaves.

        Opened here and not in the route: between a route and its response lie Quart's own
        steps, and a cancellation there would leave a subscription behind. A stream that breaks
        ends with an `error` frame; one whose client leaves is cancelled and ends quietly.
        """
        started = False
        try:
            async with await self.opener() as stream:
                await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
                started = True
                async for chunk in stream.chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            tail = b""
        except (Exception, BaseExceptionGroup) as error:
            refusal = errors.explain(error)
            tail = errors.envelope(refusal)
            if started:
                tail = frame("error", tail)
            else:
                await _start_refusal(send, refusal, len(tail))
        await send({"type": "http.response.body", "body": tail, "more_body": False})


def event_stream(opener: Opener) -> EventStream:
    """The response that relays what `opener` opens."""
    response = EventStream()
    response.opener = opener
    response.timeout = None  # Quart would cut it after RESPONSE_TIMEOUT, 60 s
    return response


async def _start_refusal(send: ASGISendCallable, refusal: SeptemberError, length: int) -> None:
    headers = [*errors.headers(refusal), ("content-length", str(length))]
    raw = [(name.encode(), value.encode()) for name, value in headers]
    await send({"type": "http.response.start", "status": refusal.status, "headers": raw})


class Connection(TrioASGIHTTPConnection):
    """Quart's side of one request; it hands event streams the wire itself.

    Quart would iterate a generator, in which no nursery may be held open across a chunk.
    """

    async def _send_response(
        self, send: ASGISendCallable, response: Response | WerkzeugResponse
    ) -> None:
        if isinstance(response, EventStream) and self.scope["method"] != "HEAD":
            await response.relay(send)
        else:
            await super()._send_response(send, response)
