"""The OpenAI embedder against a real HTTP server."""

import base64
import json
from array import array
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import h11
import pytest
import trio

from september.brain.herald.embedder_openai import OpenAIEmbedder
from september.brain.herald.embeddings import unit
from september.brain.herald.provider import Fault, ProviderError
from september.brain.herald.retry import RetryPolicy
from september.config import Secret

KEY = "sk-secret-key-1234567890"
Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Server:
    """Answers each request with `answer(body)` and remembers it."""

    answer: Callable[[dict[str, object]], Answer]
    url: str = ""
    bodies: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    keys: list[str] = field(default_factory=list[str])

    async def serve(self, stream: trio.SocketStream) -> None:
        """One connection, any number of requests."""
        wire = h11.Connection(h11.SERVER)
        body = b""
        while True:
            event = wire.next_event()
            if event is h11.NEED_DATA:
                wire.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Request):
                body = b""
                self.keys += [v.decode() for k, v in event.headers if k == b"authorization"]
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                await self._respond(stream, wire, json.loads(body))
            else:
                return

    async def _respond(
        self, stream: trio.SocketStream, wire: h11.Connection, body: dict[str, object]
    ) -> None:
        self.bodies.append(body)
        status, headers, content = self.answer(body)
        sized = {**headers, "content-length": str(len(content))}
        reply = h11.Response(status_code=status, headers=list(sized.items()))
        for event in (reply, h11.Data(data=content), h11.EndOfMessage()):
            await stream.send_all(wire.send(event) or b"")
        wire.start_next_cycle()


@asynccontextmanager
async def serving(answer: Callable[[dict[str, object]], Answer]) -> AsyncGenerator[Server]:
    server = Server(answer)
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1")
        (listener, *_) = await nursery.start(serve)
        server.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/v1"
        yield server
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def embedder(
    server: Server, dimension: int = 3, model: str = "m"
) -> AsyncGenerator[OpenAIEmbedder]:
    made = OpenAIEmbedder(
        Secret(KEY),
        model=model,
        dimension=dimension,
        base_url=server.url,
        retry=RetryPolicy(attempts=3, base_s=0.001),
    )
    try:
        yield made
    finally:
        await made.aclose()


def vector_of(text: str) -> list[float]:
    return [float(len(text)), 1.0, 0.0]


def texts_in(body: dict[str, object]) -> list[str]:
    texts = body["input"]
    assert isinstance(texts, list)
    return [str(text) for text in texts]  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]  # JSON


def in_base64(body: dict[str, object]) -> Answer:
    rows = [
        {"index": n, "embedding": base64.b64encode(array("f", vector_of(text))).decode()}
        for n, text in enumerate(texts_in(body))
    ]
    return 200, {}, json.dumps({"data": rows[::-1], "model": "m", "object": "list"}).encode()


def in_numbers(body: dict[str, object]) -> Answer:
    rows = [{"index": n, "embedding": vector_of(t)} for n, t in enumerate(texts_in(body))]
    return 200, {}, json.dumps({"data": rows}).encode()


@pytest.mark.parametrize("answer", [in_base64, in_numbers])
async def test_vectors_come_back_in_order_and_of_length_one(
    answer: Callable[[dict[str, object]], Answer],
) -> None:
    async with serving(answer) as server, embedder(server) as made:
        assert await made.embed(["a", "bb"]) == [unit([1, 1, 0]), unit([2, 1, 0])]
        assert server.keys == [f"Bearer {KEY}"]
        assert "dimensions" not in server.bodies[0]


async def test_blank_texts_are_not_sent() -> None:
    async with serving(in_base64) as server, embedder(server) as made:
        assert await made.embed([" ", "a", ""]) == [unit([0] * 3), unit([1, 1, 0]), unit([0] * 3)]
        assert server.bodies[0]["input"] == ["a"]


async def test_many_texts_go_in_several_requests() -> None:
    async with serving(in_base64) as server, embedder(server) as made:
        texts = ["x" * n for n in range(1, 301)]
        vectors = await made.embed(texts)
        assert vectors == [unit(vector_of(text)) for text in texts]
        assert [len(texts_in(body)) for body in server.bodies] == [128, 128, 44]


async def test_a_dimension_that_is_not_the_models_own_is_asked_for() -> None:
    async with (
        serving(in_base64) as server,
        embedder(server, 3, "text-embedding-3-small") as made,
    ):
        await made.embed(["a"])
        assert server.bodies[0]["dimensions"] == 3
        assert made.name == "openai:text-embedding-3-small:3"


async def test_what_passes_with_time_is_tried_again() -> None:
    refusals: list[Answer] = [(503, {}, b"busy"), (429, {"retry-after-ms": "1"}, b"slow down")]
    answers = iter(refusals)

    def answer(body: dict[str, object]) -> Answer:
        return next(answers, None) or in_base64(body)

    async with serving(answer) as server, embedder(server) as made:
        assert await made.embed(["a"]) == [unit([1, 1, 0])]
        assert len(server.bodies) == 3


async def test_a_refused_key_fails_at_once_and_is_not_in_the_message() -> None:
    def answer(body: dict[str, object]) -> Answer:
        return 401, {}, f"Incorrect API key provided: {KEY}".encode()

    async with serving(answer) as server, embedder(server) as made:
        with pytest.raises(ProviderError) as caught:
            await made.embed(["a"])
        assert caught.value.fault is Fault.AUTH
        assert KEY not in str(caught.value)
        assert len(server.bodies) == 1


async def test_vectors_of_another_dimension_are_refused_with_the_setting_to_change() -> None:
    async with serving(in_base64) as server, embedder(server, dimension=4) as made:
        with pytest.raises(ProviderError, match="EMBEDDING_DIM is 4"):
            await made.embed(["a"])


async def test_an_answer_that_makes_no_sense_is_refused() -> None:
    async with serving(lambda _: (200, {}, b"<html>")) as server, embedder(server) as made:
        with pytest.raises(ProviderError, match="not a list of embeddings"):
            await made.embed(["a"])


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    made = OpenAIEmbedder(
        Secret(KEY),
        model="m",
        dimension=3,
        base_url="http://127.0.0.1:1/v1",
        retry=RetryPolicy(attempts=1),
    )
    with pytest.raises(ProviderError) as caught:
        await made.embed(["a"])
    assert caught.value.fault is Fault.UNAVAILABLE
    await made.aclose()
