"""Two bits for each number of a vector: a coarse copy that is fast to compare.

A rotated unit vector's numbers are near normal with variance 1/d, so four levels, -3, -1, 1 and 3
times half a standard deviation, keep 94 % of a cosine's information (Max, 1960). A level is two
bits, `(level + 3) / 2`; the high one is the sign. Codes are compared by counting bits. Planes lie
one word after another (`[word, row]`), so that each operation runs over many rows at once.
"""

from collections.abc import Callable
from math import pi, sqrt
from typing import Final

from .rotation import WORD, Array, rotated, size_of

QUERY_BITS: Final = 4
"""Bits for each number of a query: more change no result (measured with `bench/recall.py`)."""

_STEP: Final = 0.9957
"""Distance of the four levels in standard deviations: the best for a normal distribution."""

_GAIN: Final = 1.7703
"""Mean of a standard normal number times its level."""

_SIGN_GAIN: Final = sqrt(2 / pi)
"""Mean of a standard normal number times its sign."""

NOISE_OF_AGREEMENT: Final = 1.21
NOISE_OF_SIGNS: Final = 0.80
NOISE_OF_CODES: Final = 0.39
"""Standard errors of the three estimates, times the root of the dimension, near a cosine of 0."""

BLOCK: Final = 4096
"""Rows that are compared at once: so many that what lies between stays in the processor's cache."""


def encode(vectors: Array) -> Array:
    """Codes of float32 unit vectors `[n, d]`, as `[n, words]` of uint64: high bits, then low."""
    import numpy as np

    turned = rotated(vectors)
    rows, size = turned.shape
    high = turned > 0
    large = np.abs(turned) > _STEP / sqrt(size)
    planes = np.packbits(np.stack((high, high == large), axis=1), axis=2)
    return planes.reshape(rows, -1).view("<u8")


def words_of(dimension: int) -> int:
    """64-bit words of a code."""
    return 2 * size_of(dimension) // WORD


class CodedQuery:
    """A query in bit planes. Its estimates of cosines, from rough and fast to fine and slow."""

    def __init__(self, vector: Array) -> None:
        import numpy as np

        turned = rotated(vector[None])[0]
        self.size = len(turned)
        self._words = self.size // WORD
        self._signs = _column(turned > 0)
        top = float(np.abs(turned).max()) or 1.0
        steps = ((turned / top + 1) / 2 * (2**QUERY_BITS - 1)).round().astype(np.uint8)
        self._steps = [_column((steps >> bit) & 1) for bit in range(QUERY_BITS)]
        self._middle = (2**QUERY_BITS - 1) / 2
        self._sum = float(steps.sum(dtype=np.int64)) - self._middle * self.size
        self._unit = top / self._middle / sqrt(self.size)

    def agreement(self, planes: Array) -> Array:
        """Cosines by how many signs are the same on both sides (Charikar, 2002)."""
        import numpy as np

        apart = _counted(planes[: self._words], self._signs, np.bitwise_xor)
        return np.cos(apart * np.float32(pi / self.size))

    def signs(self, planes: Array) -> Array:
        """Cosines by the rows' signs alone."""
        high = self._weighted(planes[: self._words])
        return (2 * high - self._sum) * (self._unit / _SIGN_GAIN)

    def cosines(self, planes: Array) -> Array:
        """Cosines by the whole codes."""
        high = self._weighted(planes[: self._words])
        low = self._weighted(planes[self._words :])
        return (4 * high + 2 * low - 3 * self._sum) * (self._unit / _GAIN)

    def _weighted(self, plane: Array) -> Array:
        """Sum of (step - middle) over the bits that are set, for each row."""
        import numpy as np

        total = ones_of(plane) * np.float32(-self._middle)
        for bit, steps in enumerate(self._steps):
            total += _counted(plane, steps, np.bitwise_and) * np.float32(2**bit)
        return total


def _column(bits: Array) -> Array:
    """Bits as 64-bit words, one below the other."""
    import numpy as np

    return np.packbits(bits).view("<u8")[:, None]


def _counted(plane: Array, mask: Array, combined: Callable[..., object]) -> Array:
    """For each row the bits that are set after its words are combined with those of `mask`."""
    import numpy as np

    words, rows = plane.shape
    block = min(rows, BLOCK)
    mixed, bits = np.empty((words, block), np.uint64), np.empty((words, block), np.uint8)
    number = np.empty(rows, np.uint16)
    for start in range(0, rows, BLOCK):
        size = min(BLOCK, rows - start)
        combined(plane[:, start : start + size], mask, out=mixed[:, :size])
        np.bitwise_count(mixed[:, :size], out=bits[:, :size])
        np.add.reduce(bits[:, :size], axis=0, dtype=np.uint16, out=number[start : start + size])
    return number


def ones_of(plane: Array) -> Array:
    """The number of bits that are set, for each row."""
    import numpy as np

    return np.add.reduce(np.bitwise_count(plane), axis=0, dtype=np.uint16)
