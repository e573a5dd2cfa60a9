"""The OpenAI embedder: POST /embeddings at OpenAI or at anything that speaks its protocol."""

import base64
import sys
from array import array
from collections.abc import Mapping, Sequence
from random import Random
from typing import Final

import httpx2
import msgspec
import trio
from msgspec import Struct

from ...config import Secret
from .embeddings import Vector, unit
from .faults import FaultMapper, retry_after
from .provider import Fault, ProviderError
from .retry import RetryPolicy, Wait, decide
from .sdk import Timeouts, http_client

BASE_URL: Final = "https://api.openai.com/v1"
NATIVE_DIMENSION: Final = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
}
"""Dimensions of OpenAI's models; another `dimension` has to be asked for."""

_TEXT_LIMIT: Final = 20_000
"""Characters of a text that are sent: the models take 8192 tokens, of two characters and more."""
_BATCH: Final = 128
"""Texts per request; OpenAI takes 2048 and 300,000 tokens in all."""


class _Row(Struct, frozen=True):
    index: int
    embedding: str | list[float]


class _Answer(Struct, frozen=True):
    data: list[_Row]


class OpenAIEmbedder:
    """An embedding model behind OpenAI's protocol. Retries what may pass with time."""

    def __init__(
        self,
        key: Secret,
        *,
        model: str,
        dimension: int,
        base_url: str = BASE_URL,
        retry: RetryPolicy | None = None,
        random: Random | None = None,
    ) -> None:
        self._key = key
        self._model = model
        self._dimension = dimension
        self._url = f"{base_url.rstrip('/')}/embeddings"
        self._retry = retry or RetryPolicy()
        self._random = random or Random()
        self._faults = FaultMapper("openai", key)
        self._http: httpx2.AsyncClient | None = None

    @property
    def name(self) -> str:
        """The vector space, such as `openai:text-embedding-3-small:1536`."""
        return f"openai:{self._model}:{self._dimension}"

    @property
    def dimension(self) -> int:
        """EMBEDDING_DIM."""
        return self._dimension

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """The vectors of `texts`; a blank text is not sent and gets zeros."""
        vectors = [unit([0.0] * self._dimension)] * len(texts)
        said = [number for number, text in enumerate(texts) if text.strip()]
        for start in range(0, len(said), _BATCH):
            numbers = said[start : start + _BATCH]
            batch = await self._request([texts[number][:_TEXT_LIMIT] for number in numbers])
            for number, vector in zip(numbers, batch, strict=True):
                vectors[number] = vector
        return vectors

    async def embed_query(self, text: str, weights: Mapping[str, float]) -> Vector:
        """As `embed`: the model itself knows which words matter."""
        return (await self.embed([text]))[0]

    async def aclose(self) -> None:
        """Close the connections."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def _request(self, texts: list[str]) -> list[Vector]:
        attempt = 1
        while True:
            try:
                return await self._post(texts)
            except ProviderError as failure:
                left_s = trio.current_effective_deadline() - trio.current_time()
                decision = decide(self._retry, failure, attempt, left_s, self._random)
                if not isinstance(decision, Wait):
                    raise
            attempt += 1
            await trio.sleep(decision.seconds)

    async def _post(self, texts: list[str]) -> list[Vector]:
        if self._http is None:
            self._http = http_client(Timeouts(idle=60.0))
        headers = {"Authorization": f"Bearer {self._key.reveal()}"}
        try:
            answer = await self._http.post(self._url, json=self._body(texts), headers=headers)
        except httpx2.HTTPError as error:
            raise self._faults.from_exception(error, Fault.CUT) from None
        if answer.status_code != 200:
            wait_s = retry_after(answer.headers)
            raise self._faults.from_status(answer.status_code, answer.text, retry_after=wait_s)
        return self._vectors(answer.content, len(texts))

    def _body(self, texts: list[str]) -> dict[str, object]:
        body: dict[str, object] = {"model": self._model, "input": texts}
        body["encoding_format"] = "base64"
        if NATIVE_DIMENSION.get(self._model, self._dimension) != self._dimension:
            body["dimensions"] = self._dimension
        return body

    def _vectors(self, content: bytes, count: int) -> list[Vector]:
        try:
            rows = sorted(msgspec.json.decode(content, type=_Answer).data, key=lambda r: r.index)
            numbers = [_numbers(row.embedding) for row in rows]
        except (msgspec.DecodeError, ValueError) as error:
            message = f"the answer is not a list of embeddings ({error})"
            raise self._faults.error(Fault.REJECTED, message) from None
        sizes = {len(row) for row in numbers}
        if len(numbers) != count or sizes != {self._dimension}:
            message = f"{len(numbers)} vectors of {sorted(sizes)} numbers came back for {count} "
            message += f"texts; EMBEDDING_DIM is {self._dimension}"
            raise self._faults.error(Fault.REJECTED, message)
        return [unit(row) for row in numbers]


def _numbers(embedding: str | list[float]) -> Sequence[float]:
    """Base64 of little-endian float32, or plain numbers from servers that know no base64."""
    if not isinstance(embedding, str):
        return embedding
    numbers = array("f", base64.b64decode(embedding, validate=True))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
