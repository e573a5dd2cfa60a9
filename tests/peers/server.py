"""An HTTP/1.1 server (h11 on trio) that plays a script over one provider's wire."""

import re
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from socket import MSG_PEEK, SO_LINGER, SOL_SOCKET
from struct import pack
from typing import Any, cast

import h11
import msgspec
import trio

from .counting import tokens
from .script import (
    ContextOverflow,
    Cut,
    End,
    Find,
    HangUp,
    Overloaded,
    Page,
    Pause,
    RateLimit,
    Reply,
    Say,
    Script,
    Stall,
    Status,
    Step,
    Wait,
    loads,
)
from .wire import Answer, Beat, Json, Received, Refused, Wire, beats

_READ = 65536


class Peer:
    """A provider's server on the loopback: what it got, and who closed what when."""

    def __init__(self, wire: Wire, script: Script) -> None:
        self.wire = wire
        self.script = script
        self.port = 0
        self.requests: list[Received] = []
        self.connections = 0
        self.open_connections = 0
        self._overflowed = 0
        self._arrival = trio.Event()
        self._gates: defaultdict[str, trio.Event] = defaultdict(trio.Event)

    @property
    def base_url(self) -> str:
        """What the provider's SDK takes as its base URL."""
        return f"http://127.0.0.1:{self.port}" + ("/v1" if self.wire.name == "openai" else "")

    @property
    def key(self) -> str:
        """The only key this peer takes."""
        return self.wire.key

    def release(self, gate: str) -> None:
        """Let every reply that waits at `gate`, or will, go on."""
        self._gates[gate].set()

    async def wait_request(self, number: int = 0) -> Received:
        """Request `number` (from 0), once it is here."""
        while len(self.requests) <= number:
            await self._arrival.wait()
        return self.requests[number]

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen on a free port of the loopback until cancelled."""
        listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.serve_listeners, self._connected, listeners))
            task_status.started()

    async def _connected(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        self.open_connections += 1
        try:
            async with stream:
                await _Connection(self, stream).run()
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            pass
        finally:
            self.open_connections -= 1

    def overflows(self, request: Received) -> bool:
        """Whether the request is longer than the window; then its reply waits for the next."""
        long = bool(self.script.window) and tokens(request.body) > self.script.window
        self._overflowed += long
        return long

    def reply_to(self, request: Received) -> Reply | None:
        """The reply that is due."""
        reply = self.script.reply(request.number - self._overflowed)
        return None if reply is None else [_found(step, request.body) for step in reply]

    def receive(self, request: h11.Request, body: bytes) -> Received:
        """Note a request down."""
        headers = {name.decode(): value.decode() for name, value in request.headers}
        decoded = _json(body)
        received = Received(
            number=len(self.requests),
            method=request.method.decode(),
            path=request.target.decode(),
            headers=headers,
            body=decoded,
            at=trio.current_time(),
        )
        self.requests.append(received)
        self._arrival.set()
        self._arrival = trio.Event()
        return received

    async def pass_gate(self, gate: str) -> None:
        """Wait for `release(gate)`."""
        await self._gates[gate].wait()

    def control(self, request: h11.Request, body: bytes) -> Answer:
        """The same for another process: /_peer/requests, /_peer/release/<gate>, /_peer/script."""
        target = request.target.decode().removeprefix("/_peer/")
        if target.startswith("release/"):
            self.release(target.removeprefix("release/"))
        elif target == "script":
            self.script = loads(body)
            self.requests.clear()
        elif target != "requests":
            return Answer(404, {"error": "no such control"})
        return Answer(200, {"requests": [_summary(request) for request in self.requests]})


class _Connection:
    """One client connection: requests one after another, until somebody closes."""

    def __init__(self, peer: Peer, stream: trio.SocketStream) -> None:
        self._peer = peer
        self._stream = stream
        self._http = h11.Connection(h11.SERVER)

    async def run(self) -> None:
        while (request := await self._request()) is not None:
            head, body = request
            if head.target.startswith(b"/_peer/"):
                await self._answer_json(self._peer.control(head, body))
            else:
                await self._exchange(self._peer.receive(head, body))
            if self._http.our_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def _request(self) -> tuple[h11.Request, bytes] | None:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            match self._http.next_event():
                case h11.NEED_DATA:
                    self._http.receive_data(await self._stream.receive_some(_READ))
                case h11.Request() as event:
                    head = event
                case h11.Data(data=data):
                    body += data
                case h11.EndOfMessage() if head is not None:
                    return head, bytes(body)
                case _:
                    return None

    async def _exchange(self, request: Received) -> None:
        """Answer while watching the client: its leaving ends the reply at once."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, request, nursery.cancel_scope)
                await self._reply(request)
                request.close(by="peer")
                nursery.cancel_scope.cancel(reason="answered")
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            request.close(by="client")
        finally:
            request.close(by="peer")

    async def _watch(self, request: Received, reply: trio.CancelScope) -> None:
        """Peek, so that a next request stays where it is."""
        try:
            if await self._stream.socket.recv(1, MSG_PEEK):
                return
        except (OSError, trio.ClosedResourceError):
            pass
        request.close(by="client")
        reply.cancel(reason="the client left")

    async def _reply(self, request: Received) -> None:
        try:
            _check(self._peer.wire, request)
            if self._peer.overflows(request):
                await self._answer_json(self._peer.wire.refusal(ContextOverflow()))
                return
            reply = self._peer.reply_to(request)
            if reply is None:
                raise Refused(self._peer.wire.malformed("the script is over"), "the script is over")
        except Refused as refused:
            request.refused = refused.reason
            await self._answer_json(refused.answer)
            return
        await self._play(request, reply)

    async def _play(self, request: Received, reply: Reply) -> None:
        wire = self._peer.wire
        match reply:
            case [Page(status, text)]:
                await self._answer(status, text.encode(), "text/html")
            case [HangUp()]:
                await self._abort(request)
            case [RateLimit() | Overloaded() | ContextOverflow() | Status() as step]:
                await self._answer_json(wire.refusal(step))
            case _:
                await self._stream_events(request, beats(wire.writer(request, reply), reply))

    async def _stream_events(self, request: Received, reply: Iterator[Beat]) -> None:
        headers = [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")]
        await self._send(h11.Response(status_code=200, headers=[*headers, _date()]))
        for beat in reply:
            match beat:
                case bytes():
                    await self._send_chunks(beat)
                case Pause(seconds):
                    await trio.sleep(seconds)
                case Wait(gate):
                    await self._peer.pass_gate(gate)
                case Stall():
                    await trio.sleep_forever()
                case Cut(reset=reset):
                    return await self._abort(request, reset=reset)
                case End():
                    break
        await self._send(h11.EndOfMessage())

    async def _send_chunks(self, data: bytes) -> None:
        size = self._peer.script.chunk or len(data)
        for start in range(0, len(data), size):
            await self._send(h11.Data(data=data[start : start + size]))

    async def _answer_json(self, answer: Answer) -> None:
        body = msgspec.json.encode(answer.body)
        await self._answer(answer.status, body, "application/json", answer.headers)

    async def _answer(
        self, status: int, body: bytes, content_type: str, more: Iterable[tuple[str, str]] = ()
    ) -> None:
        length = ("Content-Length", str(len(body)))
        headers = [("Content-Type", content_type), length, _date(), *more]
        await self._send(h11.Response(status_code=status, headers=headers))
        await self._send(h11.Data(data=body))
        await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            await self._stream.send_all(data)

    async def _abort(self, request: Received, *, reset: bool = False) -> None:
        """Close without the end of the message: the client sees a broken stream."""
        request.close(by="peer")
        if reset:
            self._stream.setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))
        await self._stream.aclose()
        self._http.send_failed()


def _found(step: Step, body: Json) -> Step:
    """A text that is to be found in the request, found."""
    if not isinstance(step, Find):
        return step
    shown = "\n".join(_strings([body.get(part) for part in ("system", "messages", "contents")]))
    found = re.findall(step.pattern, shown)
    return Say(found[-1] if found else step.otherwise, size=1000)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in cast("dict[str, object]", value).values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _strings(item)


def _check(wire: Wire, request: Received) -> None:
    """The wire's own check; a field of another shape than it reads is refused too."""
    try:
        wire.check(request)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        reason = f"malformed request: {error!r}"
        raise Refused(wire.malformed(reason), reason) from error


def _date() -> tuple[str, str]:
    return ("Date", datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"))


def _json(body: bytes) -> dict[str, Any]:
    try:
        decoded: object = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {}
    return cast("dict[str, Any]", decoded) if isinstance(decoded, dict) else {}


def _summary(request: Received) -> dict[str, Any]:
    return {
        "number": request.number,
        "path": request.path,
        "headers": dict(request.headers),
        "body": request.body,
        "closed_by": request.closed_by,
        "refused": request.refused,
    }


@asynccontextmanager
async def running(wire: Wire, script: Script) -> AsyncGenerator[Peer]:
    """A peer that serves while the block runs."""
    peer = Peer(wire, script)
    failed: Exception | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(peer.serve)
        try:
            yield peer
        except Exception as error:  # raised again outside the nursery, which would wrap it
            failed = error
        nursery.cancel_scope.cancel(reason="the test is over")
    if failed is not None:
        raise failed
