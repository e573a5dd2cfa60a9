"""Embeddings: the contract of an embedder, and the actor that owns the one in use."""

import sys
from array import array
from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import sqrt
from typing import Protocol, TypeAlias, TypeVar, assert_never

import trio
from msgspec import Struct, field

from ...actors import Actor, ActorRef, Later, Message, Reply
from ...errors import SeptemberError
from .provider import ProviderError

T = TypeVar("T")

Vector: TypeAlias = bytes
"""A unit-length float32 vector, little endian: what sqlite-vec stores. No words: all zeros."""

BATCH_TEXTS = 256
"""Texts that go to an embedder at once, whoever asked for them."""


class Embedder(Protocol):
    """Turns texts into vectors. Failures are `ProviderError`; every method is safe to cancel."""

    @property
    def name(self) -> str:
        """Names the vector space: vectors of differently named embedders do not compare."""
        ...

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        ...

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """The vectors of texts that are stored, in order."""
        ...

    async def embed_query(self, text: str, weights: Mapping[str, float]) -> Vector:
        """The vector to search with. `weights` says how rare each of its words is in the store.

        Words are lower case runs of `\\w`; a missing one counts as the rarest. An embedder that
        knows what matters in a sentence may ignore them.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections and weights."""
        ...


def unit(values: Sequence[float]) -> Vector:
    """Scale to length 1 and pack as little-endian float32; zeros stay zeros."""
    length = sqrt(sum(value * value for value in values)) or 1.0
    packed = array("f", (value / length for value in values))
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


class EmbeddingFailed(Struct, frozen=True):
    """The embedder's provider failed; the caller may try again later."""

    error: ProviderError


class Embed(Message[tuple[Vector, ...] | EmbeddingFailed], Struct, frozen=True):
    """Embed texts that will be stored."""

    texts: tuple[str, ...]


class EmbedQuery(Message[Vector | EmbeddingFailed], Struct, frozen=True):
    """Embed a text to search with; see `Embedder.embed_query` for `weights`."""

    text: str
    weights: Mapping[str, float]


EmbedderMessage: TypeAlias = Embed | EmbedQuery


class EmbedderActor(Actor[EmbedderMessage]):
    """Owns the embedder; requests that come while it works are answered by one batch."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._batches = Batches(self._embedder.embed)

    async def stopping(self) -> None:
        """Close what the embedder has open."""
        await self._embedder.aclose()

    async def handle(self, msg: EmbedderMessage) -> Reply | Later:
        match msg:
            case Embed(texts):
                batches = self._batches
                return msg.reply_after(lambda: batches.embed(texts))
            case EmbedQuery(text, weights):
                embedder = self._embedder
                return msg.reply_after(lambda: _embed_query(embedder, text, weights))
            case _:
                assert_never(msg)


async def _embed_query(
    embedder: Embedder, text: str, weights: Mapping[str, float]
) -> Vector | EmbeddingFailed:
    try:
        return await embedder.embed_query(text, weights)
    except ProviderError as error:
        return EmbeddingFailed(error)


class _Request(Struct, eq=False):
    texts: tuple[str, ...]
    answer: tuple[Vector, ...] | EmbeddingFailed | None = None


class Batches(Struct):
    """Joins concurrent requests. Whoever holds the lock works for all that wait.

    A request stays pending until its batch is done, so a worker that is cancelled leaves the
    others' requests to the next in line.
    """

    _embed: Callable[[Sequence[str]], Awaitable[list[Vector]]]
    _pending: list[_Request] = field(default_factory=list[_Request])
    _lock: trio.Lock = field(default_factory=trio.Lock)

    async def embed(self, texts: tuple[str, ...]) -> tuple[Vector, ...] | EmbeddingFailed:
        """The vectors of `texts`, in order."""
        request = _Request(texts)
        self._pending.append(request)
        try:
            async with self._lock:
                while request.answer is None:
                    await self._work(self._next_batch())
        finally:
            if request in self._pending:
                self._pending.remove(request)
        return request.answer

    def _next_batch(self) -> list[_Request]:
        """The oldest requests, up to BATCH_TEXTS texts but at least one request."""
        batch = [self._pending[0]]
        texts = len(batch[0].texts)
        for request in self._pending[1:]:
            texts += len(request.texts)
            if texts > BATCH_TEXTS:
                break
            batch.append(request)
        return batch

    async def _work(self, batch: list[_Request]) -> None:
        texts = [text for request in batch for text in request.texts]
        try:
            vectors = iter(await self._embed(texts))
        except ProviderError as error:
            for request in batch:
                request.answer = EmbeddingFailed(error)
        else:
            for request in batch:
                request.answer = tuple(next(vectors) for _ in request.texts)
        self._pending = [request for request in self._pending if request.answer is None]


class Embeddings(Struct, frozen=True):
    """What the memory holds: the embedder behind its actor, and the space its vectors live in."""

    ref: ActorRef[EmbedderMessage]
    name: str
    dimension: int

    async def embed(self, texts: Sequence[str]) -> tuple[Vector, ...]:
        """Vectors of texts to store, in order. Raises SeptemberError (LLM_...) on failure."""
        answer = await self.ref.call(Embed(tuple(texts)))
        return _ok(answer)

    async def embed_query(self, text: str, weights: Mapping[str, float] | None = None) -> Vector:
        """The vector to search with. Raises SeptemberError (LLM_...) on failure."""
        return _ok(await self.ref.call(EmbedQuery(text, weights or {})))


def _ok(answer: T | EmbeddingFailed) -> T:
    if not isinstance(answer, EmbeddingFailed):
        return answer
    failure = answer.error
    raise SeptemberError(
        failure.fault.code,
        f"texts could not be embedded: {failure}",
        {"provider": failure.provider, "fault": failure.fault.value},
        retry_after=failure.retry_after,
    ) from failure
