"""Words as the indexes know them: stems, what says little, and how rare the rest is."""

import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from math import log
from typing import Final, cast

import apsw
from msgspec import Struct

from ..store.connection import Connection

WORD: Final = re.compile(r"\w+")

MOST_WORDS: Final = 32
"""Different words of a query that count; the rest of a long message adds little but time."""

POSTINGS: Final = 5_000
"""Entries of the keyword index that one query may walk, rarest words first: bounds its time."""

_FUNCTION: Final = (
    "a about am an and any are as at be been being but by can could d did do does doing for from"
    " had has have having he her hers him his how i if in into is it its ll m me might my of on or"
    " our re s she should so some such t than that the their them then there these they this those"
    " to too us ve was we were what when where which who whom whose why will with would you your"
)
FUNCTION_WORDS: Final = frozenset(_FUNCTION.split())
"""English words that say how a question is put, not what it is about."""


class Stemmer:
    """FTS5's own tokenizer, so that what is counted here is what is indexed there."""

    def __init__(self) -> None:
        self._connection = apsw.Connection(":memory:")
        self._tokenizer = self._connection.fts5_tokenizer("porter", ["unicode61"])

    def __call__(self, text: str) -> list[str]:
        """The stems of `text`, in order."""
        found = self._tokenizer(
            text.encode(errors="replace"),
            apsw.FTS5_TOKENIZE_DOCUMENT,
            None,
            include_offsets=False,
        )
        return [stem for stems in cast("Iterable[Sequence[str]]", found) for stem in stems]


_local = threading.local()


def stems(text: str) -> list[str]:
    """The stems of `text`, by a tokenizer of this thread's own."""
    stemmer: Stemmer | None = getattr(_local, "stemmer", None)
    if stemmer is None:
        stemmer = _local.stemmer = Stemmer()
    return stemmer(text)


class Query(Struct, frozen=True):
    """A text to search for.

    `stems` are the words that say something (all words, where none does), `words` how each is
    written, `rarity` its inverse document frequency, `rows` how many rows hold it. `weights` is
    the rarity of every word as written, for the embedder. `names` are stems of words written with
    a capital.
    """

    text: str
    stems: tuple[str, ...]
    words: tuple[str, ...]
    rarity: tuple[float, ...]
    rows: tuple[int, ...]
    weights: Mapping[str, float]
    names: frozenset[str]

    def match(self) -> str:
        """An FTS5 query for any of the words, the rarest first, within the bound on postings.

        It has the words as written: a stem would be stemmed once more.
        """
        chosen: list[str] = []
        walked = 0
        for rows, word in sorted(zip(self.rows, self.words, strict=True)):
            walked += rows
            if not chosen or walked <= POSTINGS:
                chosen.append(word)
        return " OR ".join(f'"{word}"' for word in chosen)


class Lexicon:
    """Document frequencies of one store, remembered while the store has about the same size."""

    def __init__(self, store: str, table: str) -> None:
        self._words = f"{store}_words"
        self._table = table
        self._known: dict[str, int] = {}
        self._size = 0

    def filled(self, connection: Connection) -> bool:
        """Whether the store holds anything."""
        return connection.execute(f"SELECT 1 FROM {self._table} LIMIT 1").fetchone() is not None

    def query(self, connection: Connection, text: str) -> Query:
        """Read `text` as a question to this store."""
        size = self._grown(connection)
        written = [word for word in WORD.findall(text) if len(word) > 1][: 4 * MOST_WORDS]
        stem_of = {word.lower(): stems(word) for word in written}
        telling = [word for word in stem_of if word not in FUNCTION_WORDS] or list(stem_of)
        written_as = {stem: word for word in reversed(telling) for stem in stem_of[word]}
        chosen = tuple(dict.fromkeys(stem for word in telling for stem in stem_of[word]))
        rows = self._rows(connection, {stem for found in stem_of.values() for stem in found})
        weights = {
            word: max((_rarity(rows[stem], size) for stem in found), default=0.0)
            for word, found in stem_of.items()
        }
        chosen = chosen[:MOST_WORDS]
        return Query(
            text=text,
            stems=chosen,
            words=tuple(written_as[stem] for stem in chosen),
            rarity=tuple(_rarity(rows[stem], size) for stem in chosen),
            rows=tuple(rows[stem] for stem in chosen),
            weights=weights,
            names=_names(written, stem_of),
        )

    def _grown(self, connection: Connection) -> int:
        """The number of rows; what is known is dropped once that has changed by a twentieth."""
        found = connection.execute(f"SELECT coalesce(max(rowid), 0) FROM {self._table}").fetchone()
        size = int(found[0]) if found else 0
        if abs(size - self._size) * 20 >= self._size:
            self._known, self._size = {}, size
        return size

    def _rows(self, connection: Connection, wanted: set[str]) -> dict[str, int]:
        known = self._known
        for stem in wanted - known.keys():
            found = connection.execute(
                f"SELECT doc FROM {self._words} WHERE term = ?", (stem,)
            ).fetchone()
            if found is not None:  # a word not there yet may come with the next row
                known[stem] = int(found[0])
        return {stem: known.get(stem, 0) for stem in wanted}


def _rarity(rows: int, size: int) -> float:
    """Inverse document frequency as in BM25, never negative (Robertson and Zaragoza, 2009)."""
    return log(1 + (max(size - rows, 0) + 0.5) / (rows + 0.5))


def _names(written: Sequence[str], stem_of: Mapping[str, Sequence[str]]) -> frozenset[str]:
    capital = (word.lower() for word in written if word[0].isupper())
    return frozenset(
        stem for word in capital if word not in FUNCTION_WORDS for stem in stem_of[word]
    )
