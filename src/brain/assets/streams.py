"""Responses that are streams: closed to the last generator, and watched for a server's death.

httpx2 leaves a generator behind when a stream is left half-way. And the SDK takes seconds to try
a broken stream again where a look at the port tells that nobody is there any more.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, cast

import httpx2
import trio

_LOOK_S: Final = 0.8
_PAUSES_S: Final = (0.0, 0.1, 0.3)


class ServerGone(Exception):
    """A stream broke, and nothing listens where it came from."""


class Watch:
    """Watches the streams of one client."""

    def __init__(self) -> None:
        self._gone = trio.Event()

    async def response(self, response: httpx2.Response) -> None:
        """A response hook for the client."""
        stream = cast("httpx2.AsyncByteStream", response.stream)
        response.stream = _Watched(stream, self, response.request.url)

    async def look(self, url: httpx2.URL) -> None:
        """See whether anybody listens there; a dying process closes its port after its streams."""
        port = url.port or (443 if url.scheme == "https" else 80)
        with trio.move_on_after(_LOOK_S):
            for pause in _PAUSES_S:
                await trio.sleep(pause)
                try:
                    stream = await trio.open_tcp_stream(url.host, port)
                except OSError:
                    self._gone.set()
                    return
                await stream.aclose()

    @asynccontextmanager
    async def guarding(self) -> AsyncGenerator[None]:
        """Fail the body with ServerGone once the server is."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fail)
            yield
            nursery.cancel_scope.cancel()

    async def _fail(self) -> None:
        await self._gone.wait()
        raise ServerGone("the server has gone")


class _Watched(httpx2.AsyncByteStream):
    """A body whose generator is closed with it."""

    def __init__(self, stream: httpx2.AsyncByteStream, watch: Watch, url: httpx2.URL) -> None:
        self._stream = stream
        self._pieces: AsyncIterator[bytes] | None = None
        self._watch = watch
        self._url = url

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._pieces = self._stream.__aiter__()
        return self

    async def __anext__(self) -> bytes:
        assert self._pieces is not None
        try:
            return await self._pieces.__anext__()
        except (httpx2.ReadError, httpx2.RemoteProtocolError):
            await self._watch.look(self._url)
            raise

    async def aclose(self) -> None:
        pieces = self._pieces
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _LOOK_S):
            if pieces is not None:
                await cast("AsyncGenerator[bytes]", pieces).aclose()  # httpx2's own are generators
            await self._stream.aclose()
