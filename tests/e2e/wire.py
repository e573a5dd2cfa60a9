"""HTTP/1.1 from a bare socket (h11): a streamed answer can be left, cut or stalled at any byte."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from socket import SO_RCVBUF, SOL_SOCKET
from urllib.parse import urlsplit

import h11
import trio

READ = 65536


class Exchange:
    """One request on a connection of its own, and its answer as it comes."""

    def __init__(self, socket: trio.SocketStream) -> None:
        self.socket = socket
        self.status = 0
        self.headers: dict[str, str] = {}
        self.cut = False
        self._http = h11.Connection(h11.CLIENT)

    async def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> None:
        """Send the request and read the head of the answer."""
        fields = {"Host": "engine", "Content-Length": str(len(body)), **headers}
        raw = [(name.encode(), value.encode("latin-1")) for name, value in fields.items()]
        request = h11.Request(method=method, target=target, headers=raw)
        data = [self._http.send(event) for event in (request, h11.Data(data=body))]
        ended = self._http.send(h11.EndOfMessage())
        await self.socket.send_all(b"".join(part for part in (*data, ended) if part))
        head = await self._event()
        assert isinstance(head, h11.Response), f"no answer: {head}"
        self.status = head.status_code
        self.headers = {name.decode(): value.decode() for name, value in head.headers}

    async def chunk(self) -> bytes:
        """The next bytes of the answer's body; none at its end, or where it was `cut`."""
        try:
            event = await self._event()
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            self.cut = True
            return b""
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    async def body(self) -> bytes:
        """The rest of the body."""
        parts: list[bytes] = []
        while part := await self.chunk():
            parts.append(part)
        return b"".join(parts)

    async def _event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while True:
            match self._http.next_event():
                case h11.NEED_DATA:
                    self._http.receive_data(await self.socket.receive_some(READ))
                case event:
                    return event


@asynccontextmanager
async def exchanged(
    url: str,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes = b"",
    *,
    receive_buffer: int | None = None,
) -> AsyncGenerator[Exchange]:
    """Send a request; leaving closes the connection.

    `receive_buffer` bounds the bytes that the kernel takes for a client that does not read.
    """
    parts = urlsplit(url)
    socket = trio.socket.socket()
    try:
        if receive_buffer is not None:
            socket.setsockopt(SOL_SOCKET, SO_RCVBUF, receive_buffer)
        await socket.connect((parts.hostname, parts.port))
        exchange = Exchange(trio.SocketStream(socket))
        await exchange.send(method, target, headers, body)
        yield exchange
    finally:
        socket.close()
