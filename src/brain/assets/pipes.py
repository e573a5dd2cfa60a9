"""Transports of our own for the MCP SDK: stdio over a confined service, and WebSocket.

The SDK has no WebSocket client, and its stdio client can neither start a server in the sandbox
nor tell that an idle one has died.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import trio

from ..sandbox.service import Prepared, running_service

LONGEST_MESSAGE: Final = 16 * 1024 * 1024
"""Bytes of one JSON-RPC message; a server that sends more is cut off."""

_LAST_WORDS_S: Final = 0.2
_CLOSING_S: Final = 1.0


class TooLong(Exception):
    """A message beyond LONGEST_MESSAGE."""


@asynccontextmanager
async def stdio(prepared: Prepared) -> AsyncGenerator[tuple[Any, Any]]:
    """Start the server and talk to it line by line. Raises OSError when it cannot be started."""
    async with running_service(prepared) as service:

        async def send(text: str) -> None:
            await service.stdin.send_all(text.encode() + b"\n")

        try:
            async with _streams(_lines(service.stdout), send) as streams:
                yield streams
        except Exception as error:
            with trio.move_on_after(_LAST_WORDS_S):
                await service.silent.wait()
            raise _with_last_words(error, service.last_words) from None


def _with_last_words(error: Exception, words: Iterable[str]) -> Exception:
    """The error, with what the server said before it ended."""
    said = [line.strip() for line in words if line.strip()]
    if said:
        error.add_note(f"it said: {' / '.join(said[-3:])}")
    return error


@asynccontextmanager
async def websocket(url: str, headers: dict[str, str]) -> AsyncGenerator[tuple[Any, Any]]:
    """Connect to a WebSocket server that speaks the subprotocol `mcp`."""
    from trio_websocket import wrap_client_stream

    parts = urlsplit(url)
    resource = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    extra = [(name.encode(), value.encode()) for name, value in headers.items()]
    # trio-websocket leaves the stream open when the server closes first; it is closed here.
    async with await _dialled(parts) as stream, trio.open_nursery() as nursery:
        socket = await wrap_client_stream(
            nursery,
            stream,
            parts.netloc,
            resource,
            subprotocols=["mcp"],
            extra_headers=extra,
            max_message_size=LONGEST_MESSAGE,
        )
        try:
            async with _streams(_frames(socket), socket.send_message) as streams:
                yield streams
        finally:
            with trio.move_on_after(_CLOSING_S):
                await socket.aclose()
            nursery.cancel_scope.cancel()


async def _dialled(parts: SplitResult) -> trio.SocketStream | trio.SSLStream[trio.SocketStream]:
    assert parts.hostname is not None, "definitions without a host are refused"
    if parts.scheme == "ws":
        return await trio.open_tcp_stream(parts.hostname, parts.port or 80)
    return await trio.open_ssl_over_tcp_stream(
        parts.hostname, parts.port or 443, https_compatible=True
    )


@asynccontextmanager
async def _streams(
    texts: AsyncGenerator[str], send: Callable[[str], Awaitable[None]]
) -> AsyncGenerator[tuple[Any, Any]]:
    """The two object streams that the SDK reads and writes, pumped to and from JSON texts."""
    import anyio

    deliver, arriving = anyio.create_memory_object_stream[Any](0)
    leaving, collect = anyio.create_memory_object_stream[Any](0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_read, texts, deliver)
        nursery.start_soon(_write, send, collect, deliver)
        try:
            yield arriving, leaving
        finally:
            nursery.cancel_scope.cancel()
            for stream in (deliver, arriving, leaving, collect):
                stream.close()


async def _read(texts: AsyncGenerator[str], deliver: Any) -> None:
    """Hand every message on; at the end of the texts the session hears of it."""
    import anyio
    from mcp.shared.message import SessionMessage
    from mcp_types import jsonrpc_message_adapter

    with deliver:
        try:
            async with aclosing(texts):
                async for text in texts:
                    try:
                        message = jsonrpc_message_adapter.validate_json(text, by_name=False)
                    except ValueError:
                        continue  # what is no message is no answer either: a stray line of a log
                    await deliver.send(SessionMessage(message))
        except (OSError, TooLong, trio.BrokenResourceError, trio.ClosedResourceError):
            return
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            return


async def _write(send: Callable[[str], Awaitable[None]], collect: Any, deliver: Any) -> None:
    """Send what the session says; a server that does not listen any more ends the session."""
    with collect:
        try:
            async for item in collect:
                await send(item.message.model_dump_json(by_alias=True, exclude_unset=True))
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            deliver.close()


async def _lines(stdout: trio.lowlevel.FdStream) -> AsyncGenerator[str]:
    """Complete lines; the buffer holds only what has no end yet."""
    begun: list[bytes] = []
    size = 0
    async for chunk in stdout:
        first, *others = bytes(chunk).split(b"\n")
        begun.append(first)
        size += len(first)
        if size > LONGEST_MESSAGE:
            raise TooLong
        for start in others:
            line = b"".join(begun)
            begun, size = [start], len(start)
            if line.strip():
                yield line.decode(errors="replace")


async def _frames(socket: Any) -> AsyncGenerator[str]:
    from trio_websocket import ConnectionClosed

    while True:
        try:
            text = await socket.get_message()
        except ConnectionClosed:
            return
        yield text if isinstance(text, str) else text.decode(errors="replace")
