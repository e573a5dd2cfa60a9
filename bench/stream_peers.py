"""The other processes of bench/stream.py: a model server, and the plain pass-through.

Run as `python stream_peers.py model` or `python stream_peers.py fastapi MODEL_URL`; each prints
its port on its first line.
"""

import json
import re
import socket
import sys
import threading
from collections.abc import AsyncIterator

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_COUNT = re.compile(rb"deltas=(\d+)")
_PIECE = "word and "


def _event(name: str, **data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _opening() -> bytes:
    usage = {"input_tokens": 10, "output_tokens": 1}
    message: dict[str, object] = {
        "id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "bench",
        "stop_reason": None, "stop_sequence": None, "usage": usage,
    }  # fmt: skip
    return _event("message_start", message=message) + _event(
        "content_block_start", index=0, content_block={"type": "text", "text": ""}
    )


_OPENING = _opening()
_DELTA = _event("content_block_delta", index=0, delta={"type": "text_delta", "text": _PIECE})
_CLOSING = (
    _event("content_block_stop", index=0)
    + _event(
        "message_delta",
        delta={"stop_reason": "end_turn", "stop_sequence": None},
        usage={"output_tokens": 5},
    )
    + _event("message_stop")
)


def _read_request(connection: socket.socket) -> bytes | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])  # type: ignore[index]
    while len(body) < length:
        body += connection.recv(65536)
    return body


def _answer(connection: socket.socket) -> None:
    """Answer each request with as many deltas as its last `deltas=` asks for, without delay."""
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while (body := _read_request(connection)) is not None:
            left = int(_COUNT.findall(body)[-1])
            connection.sendall(_HEAD + _chunk(_OPENING))
            while left:
                some = min(left, 50)
                connection.sendall(_chunk(_DELTA * some))
                left -= some
            connection.sendall(_chunk(_CLOSING) + b"0\r\n\r\n")


def serve_model() -> None:
    """A model server that answers at once: what is measured is everything else."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def serve_fastapi(model_url: str) -> None:
    """The peer: FastAPI and uvicorn pass the SDK's deltas on, and keep nothing."""
    import anthropic
    import uvicorn
    from fastapi import FastAPI, Request
    from fastapi.responses import StreamingResponse

    client = anthropic.AsyncAnthropic(api_key="bench", base_url=model_url, max_retries=0)
    app = FastAPI()

    @app.post("/execute")
    async def execute(request: Request) -> StreamingResponse:  # pyright: ignore[reportUnusedFunction]  # FastAPI uses it
        body = await request.json()

        async def events() -> AsyncIterator[str]:
            stream = await client.messages.create(
                model="bench",
                max_tokens=4096,
                messages=[{"role": "user", "content": body["message"]}],
                stream=True,
            )
            async for event in stream:
                if event.type == "content_block_delta" and event.delta.type == "text_delta":
                    data = json.dumps({"text": event.delta.text})
                    yield f"event: text_delta\ndata: {data}\n\n"
            yield 'event: thread_lifecycle\ndata: {"phase":"completed"}\n\n'

        return StreamingResponse(events(), media_type="text/event-stream")

    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(app, log_level="error", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    if sys.argv[1] == "model":
        serve_model()
    else:
        serve_fastapi(sys.argv[2])
