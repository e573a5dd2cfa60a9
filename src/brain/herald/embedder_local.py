"""The local embedder: WordLlama's token vectors, which come in its wheel; no key, no network.

A text's vector is the weighted mean of its tokens' vectors. Only the two data files of the
`wordllama` package (MIT licence) are used, not its code.
"""

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import trio
from msgspec import Struct

from .embeddings import Vector
from .provider import Fault, ProviderError

Array: TypeAlias = Any
"""A numpy array: numpy is loaded late, with the weights."""

DIMENSION: Final = 256
_TEXT_LIMIT: Final = 20_000
"""Characters of a text that count. A mean over more says nothing about any part of it."""
_SMOOTH: Final = 3e-4
_WORD: Final = re.compile(r"\w+")


class LocalEmbedder:
    """WordLlama `l2_supercat`, 256 dimensions. Weights load in a thread with the first text."""

    def __init__(self) -> None:
        self._lock = trio.Lock()
        self._model: _Model | None = None

    @property
    def name(self) -> str:
        """The vector space: the weights, and how tokens are weighted."""
        return "wordllama-l2-supercat-256/sif-1"

    @property
    def dimension(self) -> int:
        """256."""
        return DIMENSION

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Weighted means, tokens by how rare their rank says they are in general."""
        model = await self._loaded()
        return await trio.to_thread.run_sync(model.embed, list(texts))

    async def embed_query(self, text: str, weights: Mapping[str, float]) -> Vector:
        """A weighted mean, words by how rare they are in the store.

        Measured on the LoCoMo development set (678 questions, turn level, 2026-11-20): recall@10
        63 % with inverse document frequencies as weights, 35 % without.
        """
        model = await self._loaded()
        return await trio.to_thread.run_sync(model.embed_query, text, weights)

    async def aclose(self) -> None:
        """Drop the weights."""
        self._model = None
        await trio.lowlevel.checkpoint()

    async def _loaded(self) -> "_Model":
        async with self._lock:
            if self._model is None:
                self._model = await trio.to_thread.run_sync(_load)
            return self._model


def _load() -> "_Model":
    import numpy as np
    from safetensors.numpy import (
        load_file,  # pyright: ignore[reportUnknownVariableType]  # its os.PathLike has no argument
    )
    from tokenizers import Tokenizer

    folder = _package_folder()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizers/l2_supercat_tokenizer_config.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    weights = load_file(folder / "weights/l2_supercat_256.safetensors")
    table: Array = weights["embedding.weight"]
    ranks = np.arange(1, len(table) + 1, dtype=np.float32)
    frequency = 1 / ranks / (1 / ranks).sum()
    return _Model(tokenizer, table, (_SMOOTH / (_SMOOTH + frequency)).astype(np.float32))


def _package_folder() -> Path:
    spec = find_spec("wordllama")
    if spec is None or spec.origin is None:
        message = "the package wordllama is not installed; install it or set OPENAI_API_KEY"
        raise ProviderError(Fault.UNAVAILABLE, message, provider="local")
    return Path(spec.origin).parent


class _Model(Struct, frozen=True):
    """Tokenizer, token vectors (float16, half the memory) and the tokens' general weights.

    The weights are smooth inverse frequencies (Arora et al., ICLR 2017) with the frequencies of
    Zipf's law: a token's number in this vocabulary is its rank.
    """

    tokenizer: Any
    table: Array
    rarity: Array

    def embed(self, texts: list[str]) -> list[Vector]:
        shortened = [text[:_TEXT_LIMIT] for text in texts]
        encoded = self.tokenizer.encode_batch(shortened, add_special_tokens=False)
        return [self._mean(item.ids, self.rarity[item.ids]) for item in encoded]

    def embed_query(self, text: str, weights: Mapping[str, float]) -> Vector:
        import numpy as np

        short = text[:_TEXT_LIMIT]
        item = self.tokenizer.encode(short, add_special_tokens=False)
        if not weights:
            return self._mean(item.ids, self.rarity[item.ids])
        by_token = _token_weights(short, item.offsets, weights)
        return self._mean(item.ids, np.asarray(by_token, dtype=np.float32))

    def _mean(self, ids: list[int], weights: Array) -> Vector:
        import numpy as np

        total = weights @ self.table[ids].astype(np.float32)
        length = float(np.linalg.norm(total)) or 1.0
        return cast("bytes", (total / length).astype("<f4").tobytes())


def _token_weights(
    text: str, offsets: Sequence[tuple[int, int]], weights: Mapping[str, float]
) -> list[float]:
    """The weight of the word each token ends in; 0 for what belongs to no word."""
    words = [(found.start(), found.end(), found[0].lower()) for found in _WORD.finditer(text)]
    starts = [start for start, _, _ in words]
    rarest = max(weights.values())
    by_token: list[float] = []
    for _, end in offsets:
        at = bisect_right(starts, end - 1) - 1
        inside = at >= 0 and end <= words[at][1]
        by_token.append(weights.get(words[at][2], rarest) if inside else 0.0)
    return by_token
