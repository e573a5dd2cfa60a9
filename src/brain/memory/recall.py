"""Recall: what long-term memory shows a turn, from all stores."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from .episodes import Episode

WORDS: Final = 32
"""Words of a text that are searched for; the rest of a long message adds little but time."""

SHOWN: Final = 600
"""Characters of one memory that a turn is shown."""

_WORD: Final = re.compile(r"\w{2,}")


class Recalled(Struct, frozen=True):
    """One memory. `score` says how good it is among what was found with it."""

    store: str
    id: str
    score: float
    text: str


def fts_query(text: str) -> str:
    """An FTS5 query for any of the words of `text`; quoted, so no text is ever bad syntax."""
    words = dict.fromkeys(word.lower() for word in _WORD.findall(text))
    return " OR ".join(f'"{word}"' for word in list(words)[:WORDS])


def interleaved(stores: Iterable[Sequence[Recalled]], limit: int) -> tuple[Recalled, ...]:
    """The best of each store in turn: their scores do not compare, their ranks do."""
    lists = [list(found) for found in stores]
    chosen: list[Recalled] = []
    for rank in range(max(map(len, lists), default=0)):
        chosen += [found[rank] for found in lists if rank < len(found)]
    return tuple(chosen[:limit])


def shown(episode: Episode) -> str:
    """An episode in one line for the model."""
    text = episode.value if episode.description in episode.value else episode.description
    if text is not episode.value and episode.value:
        text = f"{text} {episode.value}"
    return f"{episode.key}: {text}"[:SHOWN]
