"""Two bits for each number of a vector: a coarse copy that is fast to compare.

A unit vector's numbers are near normal with variance 1/d, so the four steps -3, -1, 1, 3 times
half a standard deviation keep 94 % of a cosine's information (Max, 1960). Codes are compared by
counting bits. Planes lie one word after another (`[word, row]`), so that each operation runs over
all rows at once.
"""

from math import sqrt
from typing import Any, Final, TypeAlias

Array: TypeAlias = Any
"""A numpy array: numpy is loaded late, with the first vector."""

QUERY_BITS: Final = 4
"""Bits for each number of a query: more changes no result (measured; docs/memory.md)."""

_STEP: Final = 0.9957
"""Distance of the four levels in standard deviations: the best for a normal distribution."""


_GAIN: Final = 1.7703
"""Mean of a standard normal number times its level."""

BLOCK: Final = 8192
"""Rows that are compared at once: so many that what lies between stays in the processor's cache."""


def words_of(dimension: int) -> int:
    """64-bit words in one plane."""
    return -(-dimension // 64)


def encode(vectors: Array) -> Array:
    """Codes of float32 vectors `[n, d]`, as `[n, 2 * words]` of uint64: signs, then magnitudes."""
    import numpy as np

    rows, dimension = vectors.shape
    large = np.abs(vectors) > _STEP / np.sqrt(dimension)
    planes = np.zeros((rows, 2, words_of(dimension) * 8), np.uint8)
    used = -(-dimension // 8)
    planes[:, 0, :used] = np.packbits(vectors > 0, axis=1)
    planes[:, 1, :used] = np.packbits(large, axis=1)
    return planes.reshape(rows, -1).view("<u8")


class CodedQuery:
    """A query in bit planes, ready to be compared with any number of codes."""

    def __init__(self, vector: Array) -> None:
        import numpy as np

        dimension = len(vector)
        self._words = words_of(dimension)
        top = float(np.abs(vector).max()) or 1.0
        scaled: Array = (vector / top + 1) / 2 * (2**QUERY_BITS - 1)
        padded = np.zeros(self._words * 64, np.uint8)
        padded[:dimension] = scaled.round()  # whole numbers below 2**QUERY_BITS
        self._planes = [np.packbits((padded >> bit) & 1).view("<u8") for bit in range(QUERY_BITS)]
        self._middle = (2**QUERY_BITS - 1) / 2
        self._scale = top / self._middle / (_GAIN * sqrt(dimension))

    def signs(self, planes: Array, ones: Array) -> Array:
        """How well each row's signs agree, higher is better; only the order means something.

        `ones` is the number of set signs of each row. The lowest bit of the query is left out.
        """
        total = self._counted(planes[: self._words], lowest=1)
        return total - ones * (self._middle - 0.5)

    def cosines(self, planes: Array) -> Array:
        """Estimated cosines, without bias, by rows that are not too few.

        A number is `sign * (1 + 2 * large)`. With bits s, l and steps v - middle for the query,
        it is (2s - 1)(1 + 2l) = 2s + 4sl - 2l - 1.
        """
        signs, large = planes[: self._words], planes[self._words :]
        by_sign, by_both = self._weighted(signs), self._weighted(signs & large)
        return (2 * by_sign + 4 * by_both - 2 * self._weighted(large)) * self._scale

    def _weighted(self, plane: Array) -> Array:
        """Sum of (step - middle) over the bits that are set, for each row."""
        return self._counted(plane) - ones_of(plane, self._words) * self._middle

    def _counted(self, plane: Array, lowest: int = 0) -> Array:
        """Sum of the query's steps over the bits that are set, for each row."""
        import numpy as np

        rows = plane.shape[1]
        total = np.zeros(rows, np.float32)
        both, bits = np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.uint8)
        for start in range(0, rows, BLOCK):
            block = plane[:, start : start + BLOCK]
            size = block.shape[1]
            for bit in range(lowest, QUERY_BITS):
                counted = np.zeros(size, np.uint16)
                for word, mask in enumerate(self._planes[bit]):
                    np.bitwise_and(block[word], mask, out=both[:size])
                    np.bitwise_count(both[:size], out=bits[:size])
                    counted += bits[:size]
                total[start : start + size] += counted * np.float32(2**bit)
        return total


def ones_of(planes: Array, words: int) -> Array:
    """The number of bits that are set in the first `words` of each row."""
    import numpy as np

    number = np.zeros(planes.shape[1], np.uint16)
    for word in range(words):
        number += np.bitwise_count(planes[word])
    return number
