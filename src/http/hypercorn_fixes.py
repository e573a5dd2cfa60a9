"""Fixes for hypercorn 0.18.0 on trio: three bugs around closing, and a slow way to send.

Each bug has a test in `tests/http/test_hypercorn_fixes.py` that shows it in the stock server.

A  After a response quart-trio cancels the request's nursery, because hypercorn announces the end
   as a disconnect. hypercorn then restarts its idle timer inside that cancelled scope and dies
   there: an idle keep-alive connection is never closed, and holds up every shutdown.
B  In the same scope hypercorn closes a connection that must not be kept alive. That dies, too:
   the client never sees the connection end, and a shutdown waits for it in vain.
C  hypercorn shields its writes from cancellation without a limit, so one client that opens a
   stream and does not read makes the server unstoppable.

The slow way: each write takes the send lock and trio's `send_all`, which yield to the scheduler
three times, and before that each chunk passes six layers that have nothing to add to it. `os.write`
to a socket with room yields to nobody, and `send_chunk` goes there directly (`bench/sse.py`).
"""

import os
from typing import Final, cast

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.trio import run, tcp_server
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, LifespanState
from trio.abc import Stream

STALL_S: Final = 60.0
PIECE: Final = 2**14
"""A client has STALL_S seconds to take this many bytes, or its connection is given up."""

DIRECT: Final = "september.send_chunk"
"""Where a request finds `send_chunk`: in the state of its ASGI scope."""

CLOSING_S: Final = 1.0
"""How long closing a connection may take although its request was cancelled, in seconds."""

WRITES_PER_YIELD: Final = 64
"""Writes in a row before other tasks get their turn."""


class FixedTCPServer(tcp_server.TCPServer):
    """One connection, without the bugs."""

    stall_s = STALL_S
    _in_a_row = 0

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        state: LifespanState,
        stream: trio.SSLStream[trio.SocketStream],
    ) -> None:
        super().__init__(app, config, context, {**state, DIRECT: self.send_chunk}, stream)

    async def send_chunk(self, chunk: bytes) -> None:
        """Send a piece of a chunked HTTP/1.1 response whose head has been sent already.

        An empty chunk would end the response, so it is left out.
        """
        if chunk:
            await self._write(b"%x\r\n%b\r\n" % (len(chunk), chunk))

    async def protocol_send(self, event: Event) -> None:
        """Send bytes to the client, or do what hypercorn does with other events."""
        if not isinstance(event, RawData):
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSING_S):
                await super().protocol_send(event)  # A and B
        else:
            await self._write(event.data)

    async def _write(self, data: bytes) -> None:
        written = self._write_now(data)
        if written < len(data):
            await self._write_all(data[written:])
            return
        self._in_a_row += 1
        if self._in_a_row >= WRITES_PER_YIELD:
            self._in_a_row = 0
            await trio.lowlevel.checkpoint()

    def _write_now(self, data: bytes) -> int:
        """Write what the kernel takes at once, if nobody else is writing; how much it was."""
        stream = cast("Stream", self.stream)  # declared as TLS, which it need not be
        if self.send_lock.locked() or not isinstance(stream, trio.SocketStream):
            return 0
        try:
            return os.write(stream.socket.fileno(), data)
        except OSError:  # no room, or gone (-1 once closed): the slow way finds out which
            return 0

    async def _write_all(self, data: bytes) -> None:
        """Write the slow way: wait for room, but not for ever, and stop when cancelled (C)."""
        self._in_a_row = 0
        try:
            async with self.send_lock:
                for start in range(0, len(data), PIECE):
                    with trio.fail_after(self.stall_s):
                        await self.stream.send_all(data[start : start + PIECE])
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await self.protocol.handle(Closed())
        except trio.TooSlowError:
            await self._abort()
        except trio.Cancelled:
            await self._abort()  # half a chunk is on the wire: nothing sane can follow it
            raise

    async def _abort(self) -> None:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSING_S):
            await trio.aclose_forcefully(self.stream)
            await self.protocol.handle(Closed())


def install() -> None:
    """Make hypercorn's trio worker serve connections with the fixed class."""
    # Where `run` looks its class up; a plain import there, so not marked as exported.
    run.TCPServer = FixedTCPServer  # type: ignore[attr-defined]  # pyright: ignore[reportPrivateImportUsage]
