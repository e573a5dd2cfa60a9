"""The two servers of bench/sse.py; each prints its port on its first line when it listens.

Run as `python sse_peers.py september` or `python sse_peers.py fastapi`. Both check the key, parse
the body, write an access log (to /dev/null) and stream the same frames.
"""

import hashlib
import os
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import Final, Self, cast

import anyio
import trio
import uvicorn
from fastapi import FastAPI, Header, HTTPException
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from september.http.app import engine_app
from september.http.auth import KeyRing
from september.http.port import EnginePort, ExecuteRequest
from september.http.server import Shutdown, bind, serve
from september.logs import configure_logs

_KEY: Final = "bench-key"
_FRAME: Final = b'id: 12345\nevent: text_delta\ndata: {"text":" seven words"}\n\n'


async def _ready(frames: int) -> AsyncGenerator[bytes, None]:
    for _ in range(frames):
        yield _FRAME


class _Ready:
    """Frames that are there already."""

    task_id, turn_id = "t", "turn"

    def __init__(self, frames: int) -> None:
        self.chunks = _ready(frames)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.chunks.aclose()


class _Relayed:
    """Frames handed over by another task, one by one."""

    task_id, turn_id = "t", "turn"

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self._send, self._receive = trio.open_memory_channel[bytes](16)
        self._nursery = trio.open_nursery()

    @property
    def chunks(self) -> AsyncIterator[bytes]:
        return self._receive

    async def _produce(self) -> None:
        with self._send:
            for _ in range(self._frames):
                await self._send.send(_FRAME)

    async def __aenter__(self) -> Self:
        (await self._nursery.__aenter__()).start_soon(self._produce)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._nursery.__aexit__(kind, error, traceback)


class _Engine:
    """As much of the port as the bench asks of it."""

    async def start(self, request: ExecuteRequest) -> _Ready | _Relayed:
        how, frames = request.message.split()
        return _Ready(int(frames)) if how == "ready" else _Relayed(int(frames))

    async def drain(self) -> None:
        """Nothing runs that could be drained."""


async def _september(listener: socket.socket) -> None:
    engine = _Engine()
    keys = KeyRing.restore(hashlib.sha256(_KEY.encode()).hexdigest())
    app = engine_app(cast("EnginePort", engine), keys)
    await serve(app, listener, Shutdown(), drain=engine.drain)


class _Execute(BaseModel):
    task_id: str
    message: str


async def _relayed(frames: int) -> AsyncGenerator[bytes, None]:
    send, receive = anyio.create_memory_object_stream[bytes](16)

    async def produce() -> None:
        with send:
            for _ in range(frames):
                await send.send(_FRAME)

    async with anyio.create_task_group() as tasks, receive:
        tasks.start_soon(produce)
        async for frame in receive:
            yield frame


async def _execute(body: _Execute, x_engine_key: str = Header()) -> StreamingResponse:
    if x_engine_key != _KEY:
        raise HTTPException(401)
    how, frames = body.message.split()
    source = _ready(int(frames)) if how == "ready" else _relayed(int(frames))
    return StreamingResponse(source, media_type="text/event-stream")


def _fastapi(listener: socket.socket) -> None:
    app = FastAPI()
    app.post("/execute")(_execute)
    uvicorn.Server(uvicorn.Config(app)).run(sockets=[listener])


def main() -> None:
    """Be one of the two."""
    listener = bind("127.0.0.1", 0)
    print(listener.getsockname()[1], flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if sys.argv[1] == "fastapi":
        _fastapi(listener)
    else:
        configure_logs("INFO")
        trio.run(_september, listener)


if __name__ == "__main__":
    main()
