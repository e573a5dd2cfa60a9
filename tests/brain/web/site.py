"""A small web site on loopback: what it says is up to the test."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import h11
import trio


@dataclass(frozen=True)
class Answer:
    """What one path answers. `pace` is called before each piece of the body."""

    body: bytes | tuple[bytes, ...] = b""
    media_type: str = "text/html; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    pace: Callable[[], Awaitable[None]] | None = None


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


_NOWHERE = Answer(b"no such page", status=404)

Page: TypeAlias = Answer | Callable[[Asked], Answer]


@dataclass
class Site:
    """The running site. `asked` are the requests so far."""

    port: int
    pages: Mapping[str, Page]
    asked: list[Asked] = field(default_factory=list[Asked])

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        """The address of a page."""
        return f"http://{host}:{self.port}{path}"

    async def serve(self, stream: trio.SocketStream) -> None:
        """One exchange."""
        async with stream:
            connection = h11.Connection(h11.SERVER)
            head, body = None, b""
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await stream.receive_some())
                elif isinstance(event, h11.Request):
                    head = event
                elif isinstance(event, h11.Data):
                    body += event.data
                else:
                    break
            if head is None:
                return
            headers = {name.decode(): value.decode() for name, value in head.headers}
            asked = Asked(head.method.decode(), head.target.decode(), headers, body)
            self.asked.append(asked)
            page = self.pages.get(
                asked.target.partition("?")[0], Answer(b"no such page", status=404)
            )
            await self._send(stream, connection, page(asked) if callable(page) else page)

    async def _send(
        self, stream: trio.SocketStream, connection: h11.Connection, answer: Answer
    ) -> None:
        pieces = answer.body if isinstance(answer.body, tuple) else (answer.body,)
        headers = [("content-type", answer.media_type), *answer.headers.items()]
        head = h11.Response(status_code=answer.status, headers=[*headers, ("connection", "close")])
        try:
            await stream.send_all(connection.send(head) or b"")
            for piece in pieces:
                if answer.pace is not None:
                    await answer.pace()
                await stream.send_all(connection.send(h11.Data(data=piece)) or b"")
            await stream.send_all(connection.send(h11.EndOfMessage()) or b"")
        except trio.BrokenResourceError:
            return  # whoever asked has heard enough


@asynccontextmanager
async def site(pages: Mapping[str, Page]) -> AsyncGenerator[Site]:
    """Serve `pages` while the body runs."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port: int = listeners[0].socket.getsockname()[1]
        served = Site(port, pages)
        nursery.start_soon(trio.serve_listeners, served.serve, listeners)
        yield served
        nursery.cancel_scope.cancel()
