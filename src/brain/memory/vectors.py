"""Vectors of one store: kept in the brain, their codes in memory, found coarse to exact.

The codes in memory follow the table: `seq` only grows, so what is new since the last look is
read before each search, in the search's own snapshot. A row that has left stays in memory until
the codes are read anew, and is dropped when its exact vector is not found.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import sqrt
from typing import Final

import msgspec

from ..herald.embeddings import Vector
from ..store.connection import Connection
from .codes import (
    NOISE_OF_AGREEMENT,
    NOISE_OF_CODES,
    NOISE_OF_SIGNS,
    CodedQuery,
    encode,
    words_of,
)
from .rotation import Array

LEAST: Final = 64
MOST: Final = 1000
"""Rows that are compared exactly at the end of a search: at least, and at most."""

MANY: Final = 1024
"""With fewer rows left than this it is not worth while to look at signs before whole codes."""

SIGMAS_OF_AGREEMENT: Final = 4.5
SIGMAS_OF_SIGNS: Final = 4.2
SIGMAS_OF_CODES: Final = 3.6
"""How many standard errors behind the last that counts a row may be and stays in the race.

The k-th best estimate owes some of its height to luck, so these are wider than the 2.3 of a one
per cent loss. Of directions drawn at random, the hardest case, a third survives the first look;
where vectors have neighbours, as those of texts do, hardly more than the neighbours.
"""

NEAR_ENOUGH: Final = 0.015
"""Standard error of a cosine that changes no ranking. Codes of 1,024 numbers are as good, those
of 256 are not: with theirs in place of exact cosines LoCoMo's recall@10 falls by half a point."""


class Sight(msgspec.Struct, frozen=True):
    """The vector of a query, and the space it lives in."""

    space: int
    vector: Vector


class _Codes(msgspec.Struct, frozen=True):
    """What is in memory: the first `rows` columns of `planes`; arrays may have room for more.

    `places` says where an item is; one that was embedded again has left its first place behind.
    """

    planes: Array
    items: Array
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

    def seen(self, connection: Connection, sight: Sight) -> "View":
        """What lives in the space of `sight`, as of this snapshot or later."""
        import numpy as np

        vector: Array = np.frombuffer(sight.vector, "<f4")
        codes = self._followed(connection, sight.space, len(vector))
        return View(f"{self._table}_exact", codes, CodedQuery(vector), sight.vector)

    def _followed(self, connection: Connection, space: int, dimension: int) -> _Codes:
        with self._lock:
            codes = self._codes
            if codes is None or self._space != space or codes.rows > 2 * len(codes.places):
                codes = _empty(dimension)
                self._space = space
            new = connection.execute(
                f"SELECT seq, item, code FROM {self._table} WHERE seq > ? AND space = ?"
                " ORDER BY seq",
                (codes.seq, space),
            ).fetchall()
            self._codes = codes = _appended(codes, new) if new else codes
            return codes


class View(msgspec.Struct, frozen=True):
    """A store's vectors, seen from one query."""

    _table: str
    _codes: _Codes
    _query: CodedQuery
    _vector: Vector

    def nearest(self, connection: Connection, limit: int) -> dict[int, float]:
        """The `limit` items that are nearest, with their exact cosines, nearest first."""
        if not self._codes.rows or not any(self._vector):
            return {}
        chosen = self._codes.items[self._coarse(limit)]
        found = self._exact(connection, chosen.tolist())
        best = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]
        return dict(best)

    def cosines(self, connection: Connection, items: Iterable[int]) -> dict[int, float]:
        """Cosines of those of these items that have a vector: by their codes, if that will do."""
        places = self._codes.places
        known = [item for item in items if item in places]
        if NOISE_OF_CODES / sqrt(self._query.size) > NEAR_ENOUGH or not known:
            return self._exact(connection, known)
        planes = self._codes.planes[:, [places[item] for item in known]]
        return dict(zip(known, self._query.cosines(planes).tolist(), strict=True))

    def _coarse(self, limit: int) -> Array:
        """Places of the rows that may be among the nearest."""
        import numpy as np

        def narrowed(
            rows: Array, look: Callable[[Array], Array], noise: float, least: int, most: int
        ) -> Array:
            scores = look(planes[:, rows] if len(rows) < planes.shape[1] else planes)
            return rows[_leaders(scores, limit, noise / root, least, most)]

        query, root = self._query, sqrt(self._query.size)
        planes = self._codes.planes[:, : self._codes.rows]
        rows = np.arange(self._codes.rows)
        if len(rows) > MANY:
            noise = SIGMAS_OF_AGREEMENT * NOISE_OF_AGREEMENT
            rows = narrowed(rows, query.agreement, noise, MANY, len(rows))
        if len(rows) > MANY:
            noise = SIGMAS_OF_SIGNS * NOISE_OF_SIGNS
            rows = narrowed(rows, query.signs, noise, MANY, len(rows))
        noise, least = SIGMAS_OF_CODES * NOISE_OF_CODES, max(LEAST, 2 * limit)
        return narrowed(rows, query.cosines, noise, least, max(MOST, least))

    def _exact(self, connection: Connection, items: Sequence[int]) -> dict[int, float]:
        """The exact cosines of these items; one without a vector in this space is left out."""
        found = connection.execute(
            f"SELECT item, 1 - vec_distance_cosine(embedding, ?1) FROM {self._table}"
            " WHERE item IN (SELECT value FROM json_each(?2)) AND length(embedding) = ?3",
            (self._vector, msgspec.json.encode(items).decode(), len(self._vector)),
        )
        return {item: cosine for item, cosine in found if cosine is not None}


def _leaders(scores: Array, limit: int, behind: float, least: int, most: int) -> Array:
    """Places of the scores at most `behind` the `limit`-th best; so many at least, and at most."""
    import numpy as np

    if len(scores) <= least:
        return np.arange(len(scores))
    last = np.partition(scores, -limit)[-limit]
    near = np.flatnonzero(scores >= last - behind)
    keep = min(max(len(near), least), most)
    if keep == len(near):
        return near
    return np.sort(np.argpartition(scores, -keep)[-keep:])


def _empty(dimension: int) -> _Codes:
    import numpy as np

    planes = np.zeros((words_of(dimension), 0), np.uint64)
    return _Codes(planes, np.zeros(0, np.int64), {}, 0, 0)


def _appended(codes: _Codes, new: Sequence[tuple[int, int, bytes]]) -> _Codes:
    """With rows added; arrays grow by doubling, and those already handed out stay as they are."""
    import numpy as np

    rows = codes.rows + len(new)
    planes, items = codes.planes, codes.items
    if rows > len(items):
        room = max(1024, 2 * codes.rows, rows)
        planes = np.zeros((planes.shape[0], room), np.uint64)
        items = np.zeros(room, np.int64)
        planes[:, : codes.rows] = codes.planes[:, : codes.rows]
        items[: codes.rows] = codes.items[: codes.rows]
    added = np.frombuffer(b"".join(code for _, _, code in new), "<u8")
    planes[:, codes.rows : rows] = added.reshape(len(new), -1).T
    items[codes.rows : rows] = [item for _, item, _ in new]
    codes.places.update((item, codes.rows + at) for at, (_, item, _) in enumerate(new))
    return _Codes(planes, items, codes.places, rows, new[-1][0])


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


def made_space(connection: Connection, name: str) -> int:
    """The number of the space called `name`, made if need be."""
    connection.execute("INSERT OR IGNORE INTO embedding_spaces (name) VALUES (?)", (name,))
    return space_number(connection, name)


def space_number(connection: Connection, name: str) -> int:
    """The number of the space called `name`; 0 where nothing was ever embedded in it."""
    found = connection.execute(
        "SELECT space FROM embedding_spaces WHERE name = ?", (name,)
    ).fetchone()
    return int(found[0]) if found else 0
