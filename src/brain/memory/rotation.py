"""A fixed rotation that spreads what a vector says evenly over all its numbers.

A code keeps little of each number, which is enough when all numbers are alike. Those of an
embedder are not: some vary far more than others. After a random rotation they are alike, and
cosines are what they were. Signs, a shuffle and a Hadamard transform, twice, are as good as a
random matrix and need no multiplication (Ailon and Chazelle, 2006).
"""

from functools import lru_cache
from hashlib import shake_256
from math import sqrt
from typing import Any, Final, TypeAlias

Array: TypeAlias = Any
"""A numpy array: numpy is loaded late, with the first vector."""

WORD: Final = 64
ROUNDS: Final = 2
_SEED: Final = b"september/rotation/1"
"""Stored codes depend on it: another seed, or another way to draw, makes them useless."""


def size_of(dimension: int) -> int:
    """Numbers of a rotated vector: the dimension, up to whole words of 64."""
    return -(-dimension // WORD) * WORD


def rotated(vectors: Array) -> Array:
    """Rotate float32 vectors `[n, d]` into `[n, size_of(d)]`."""
    import numpy as np

    rows, dimension = vectors.shape
    size = size_of(dimension)
    turned = np.zeros((rows, size), np.float32)
    turned[:, :dimension] = vectors
    for signs, order in _drawn(size):
        turned = (turned * signs)[:, order]
        _transform(turned)
    return turned


@lru_cache(maxsize=4)
def _drawn(size: int) -> tuple[tuple[Array, Array], ...]:
    """Signs and a shuffle for each round; the transform's scale is in the signs."""
    import numpy as np

    stream = shake_256(_SEED + str(size).encode()).digest(ROUNDS * size * 9)
    drawn = np.frombuffer(stream, np.uint8).reshape(ROUNDS, size * 9)
    scale = np.float32(1 / sqrt(_block(size)))
    return tuple(
        (
            np.where(line[:size] & 1, scale, -scale),
            np.argsort(line[size:].view("<u8"), kind="stable"),
        )
        for line in drawn
    )


def _block(size: int) -> int:
    """The largest power of two that divides the size: 64 or more."""
    return size & -size


def _transform(vectors: Array) -> None:
    """Hadamard's transform of each block, in place and without its scale."""
    import numpy as np

    rows, size = vectors.shape
    half = 1
    while half < _block(size):
        pairs = vectors.reshape(rows, -1, 2, half)
        left, right = pairs[:, :, 0], pairs[:, :, 1]
        difference = left - right
        np.add(left, right, out=left)
        right[...] = difference
        half *= 2
