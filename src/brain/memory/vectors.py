"""Vectors of one store: kept in the brain, their codes in memory, found coarse to exact.

The codes in memory follow the table: `seq` only grows, so what is new since the last look is
read before each search, in the search's own snapshot. A row that has left stays in memory until
the codes are read anew, and is dropped when its exact vector is not found.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ..herald.embeddings import Vector
from ..store.connection import Connection
from .codes import Array, CodedQuery, encode, ones_of, words_of

EXACT: Final = 400
"""Rows that are compared exactly at the end of a search."""

FIRST_SHARE: Final = 0.12
FIRST_LEAST: Final = 4096
"""Rows whose full codes are compared after the signs alone: a share, but at least so many."""


@dataclass(frozen=True, slots=True)
class _Codes:
    """What is in memory: the first `rows` columns of `planes`; arrays may have room for more.

    `ones` counts each row's set signs, `places` says where an item is.
    """

    planes: Array
    items: Array
    ones: Array
    places: dict[int, int]
    rows: int
    seq: int


class VectorIndex:
    """One store's vectors in one space. Used from several reader threads."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._lock = threading.Lock()
        self._codes: _Codes | None = None
        self._space = 0

    def nearest(
        self, connection: Connection, space: int, query: Vector, limit: int
    ) -> dict[int, float]:
        """The `limit` items whose vectors are nearest to `query`, with their exact cosines."""
        import numpy as np

        vector: Array = np.frombuffer(query, "<f4")
        codes = self._followed(connection, space, len(vector))
        if not codes.rows or not vector.any():
            return {}
        chosen = _coarse(codes, vector, max(EXACT, 2 * limit))
        found = self.cosines(connection, query, chosen.tolist())
        best = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]
        return dict(best)

    def cosines(
        self, connection: Connection, query: Vector, items: Iterable[int]
    ) -> dict[int, float]:
        """The exact cosines of these items; one without a vector in this space is left out.

        To be called after `nearest`, in the same snapshot: it knows what lives in the space.
        """
        import numpy as np

        places = self._codes.places if self._codes is not None else {}
        wanted = msgspec.json.encode([item for item in items if item in places]).decode()
        found = connection.execute(
            f"SELECT item, embedding FROM {self._table}_exact"
            " WHERE item IN (SELECT value FROM json_each(?))",
            (wanted,),
        ).fetchall()
        if not found:
            return {}
        matrix: Array = np.frombuffer(b"".join(vector for _, vector in found), "<f4")
        vector: Array = np.frombuffer(query, "<f4")
        scores = np.einsum("ij,j->i", matrix.reshape(len(found), -1), vector)  # starts no threads
        return {item: float(score) for (item, _), score in zip(found, scores, strict=True)}

    def estimates(self, query: Vector, items: Iterable[int]) -> dict[int, float]:
        """Cosines of these items by their codes alone, which are in memory; see `cosines`."""
        import numpy as np

        codes = self._codes
        known = [item for item in items if codes is not None and item in codes.places]
        if codes is None or not known:
            return {}
        planes = codes.planes[:, [codes.places[item] for item in known]]
        scores = CodedQuery(np.frombuffer(query, "<f4")).cosines(planes)
        return dict(zip(known, scores.tolist(), strict=True))

    def _followed(self, connection: Connection, space: int, dimension: int) -> _Codes:
        """The codes as of this snapshot, or later."""
        with self._lock:
            codes = self._codes
            if codes is None or self._space != space:
                codes = _empty(dimension)
                self._space = space
            new = connection.execute(
                f"SELECT seq, item, code FROM {self._table} WHERE seq > ? AND space = ?"
                " ORDER BY seq",
                (codes.seq, space),
            ).fetchall()
            self._codes = codes = _appended(codes, new) if new else codes
            return codes


def _coarse(codes: _Codes, vector: Array, keep: int) -> Array:
    """The items that may be among the nearest: by signs, then by whole codes."""
    query = CodedQuery(vector)
    planes = codes.planes[:, : codes.rows]
    first = max(FIRST_LEAST, int(codes.rows * FIRST_SHARE))
    chosen = (
        _best(query.signs(planes, codes.ones[: codes.rows]), first) if codes.rows > first else None
    )
    narrowed = planes if chosen is None else planes[:, chosen]
    second = _best(query.cosines(narrowed), keep)
    return codes.items[second if chosen is None else chosen[second]]


def _best(scores: Array, keep: int) -> Array:
    import numpy as np

    if len(scores) <= keep:
        return np.arange(len(scores))
    return np.argpartition(-scores, keep)[:keep]


def _empty(dimension: int) -> _Codes:
    import numpy as np

    planes = np.zeros((2 * words_of(dimension), 0), np.uint64)
    return _Codes(planes, np.zeros(0, np.int64), np.zeros(0, np.uint16), {}, 0, 0)


def _appended(codes: _Codes, new: Sequence[tuple[int, int, bytes]]) -> _Codes:
    """With rows added; arrays grow by doubling, and those already handed out stay as they are."""
    import numpy as np

    rows = codes.rows + len(new)
    planes, items, ones = codes.planes, codes.items, codes.ones
    if rows > len(items):
        room = max(1024, 2 * codes.rows, rows)
        planes = np.zeros((planes.shape[0], room), np.uint64)
        items, ones = np.zeros(room, np.int64), np.zeros(room, np.uint16)
        planes[:, : codes.rows] = codes.planes[:, : codes.rows]
        items[: codes.rows] = codes.items[: codes.rows]
        ones[: codes.rows] = codes.ones[: codes.rows]
    added = np.frombuffer(b"".join(code for _, _, code in new), "<u8")
    planes[:, codes.rows : rows] = added.reshape(len(new), -1).T
    items[codes.rows : rows] = [item for _, item, _ in new]
    ones[codes.rows : rows] = ones_of(planes[:, codes.rows : rows], len(planes) // 2)
    codes.places.update((item, codes.rows + at) for at, (_, item, _) in enumerate(new))
    return _Codes(planes, items, ones, codes.places, rows, new[-1][0])


def put(connection: Connection, table: str, space: int, vectors: Mapping[int, Vector]) -> None:
    """Keep the vectors of items, in place of what they had."""
    import numpy as np

    matrix: Array = np.frombuffer(b"".join(vectors.values()), "<f4").reshape(len(vectors), -1)
    codes: Array = encode(matrix)
    connection.executemany(
        f"INSERT OR REPLACE INTO {table} (item, space, code) VALUES (?, ?, ?)",
        [(item, space, code.tobytes()) for item, code in zip(vectors, codes, strict=True)],
    )
    connection.executemany(
        f"INSERT OR REPLACE INTO {table}_exact (item, embedding) VALUES (?, ?)",
        list(vectors.items()),
    )


def space_number(connection: Connection, name: str) -> int:
    """The number of the space called `name`; 0 where nothing was ever embedded in it."""
    found = connection.execute(
        "SELECT space FROM embedding_spaces WHERE name = ?", (name,)
    ).fetchone()
    return int(found[0]) if found else 0
