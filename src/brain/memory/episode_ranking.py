"""The ranking of episodes: a few features of each candidate and its neighbours, summed.

What was said just before and after belongs to what was said: two turns on either side are looked
at together with each candidate. The weights were fitted on two conversations and checked on the
third, each in turn, and then rounded; `bench/recall.py` measures them (docs/performance.md).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from .dates import named_date
from .episode_words import Occurrences, occurrences
from .episodes import Line
from .rotation import Array
from .words import Query

REACH: Final = 2
"""Neighbours on either side that count."""

SITTING_MS: Final = 3_600_000
"""Episodes written one after the other and no further apart in time are neighbours."""

HALF_LIFE_MS: Final = 30 * 86_400_000
"""Age at which an episode's small bonus for being new is half gone."""

K1: Final = 1.2
B: Final = 0.75
"""BM25's usual constants, those of FTS5."""

_ASIDE: Final = re.compile(r"\s*[\[(][^\])]*[\])]\s*$")


class Weights(Struct, frozen=True):
    """What each feature counts."""

    words: float = 6.0
    """The query's words in the candidate and its neighbours: BM25 of all of them as one text."""
    meaning: float = 4.5
    """Cosine of the candidate itself."""
    context: float = 4.0
    """Mean cosine of the candidate and its neighbours."""
    header: float = 1.0
    """Names asked for that stand in the key, in the description or as the speaker."""
    date: float = 4.0
    """The date asked for fits."""
    length: float = 0.8
    """Logarithm of the number of words: a greeting says little."""
    question: float = -1.1
    """It only asks: the answer is elsewhere."""
    recency: float = 0.3
    """Between equals the newer one."""


WEIGHTS: Final = Weights()


def rank(
    query: Query,
    lines: Sequence[Line],
    cosines: Mapping[int, float],
    now: int,
    weights: Weights = WEIGHTS,
) -> dict[int, float]:
    """Score every line, higher is better. They come by rowid, with the neighbours they have."""
    import numpy as np

    ids = np.array([line.rowid for line in lines])
    times = np.array([line.occurred_at for line in lines])
    around = _neighbours(ids, times)
    meaning = np.array([max(cosines.get(line.rowid, 0.0), 0.0) for line in lines])
    read = occurrences(query, lines)
    age = np.maximum(now - times, 0)
    score = (
        weights.words * _words(query, read, around)
        + weights.meaning * meaning
        + weights.context * _mean(meaning, around)
        + weights.header * _header(query, read)
        + weights.length * np.log(2 + np.array([_said(line).count(" ") for line in lines]))
        + weights.question * np.array([_asks(line) for line in lines])
        + weights.recency * 0.5 ** (age / HALF_LIFE_MS)
    )
    date = named_date(query.text)
    if date is not None:
        score += weights.date * np.array([date.fit(line.occurred_at) for line in lines])
    return dict(zip(ids.tolist(), score.tolist(), strict=True))


def _neighbours(ids: Array, times: Array) -> Array:
    """For each row the places of itself and its neighbours, as `[2 * REACH + 1, n]`; -1: none."""
    import numpy as np

    places = np.arange(len(ids))
    found = np.full((2 * REACH + 1, len(ids)), -1)
    for line, step in enumerate(range(-REACH, REACH + 1)):
        inside = places[(places + step >= 0) & (places + step < len(ids))]
        other = inside + step
        near = (np.abs(ids[other] - ids[inside]) <= abs(step)) & (
            np.abs(times[other] - times[inside]) <= SITTING_MS
        )
        found[line, inside[near]] = other[near]
    return found


def _sum(values: Array, around: Array) -> Array:
    import numpy as np

    return np.where(around >= 0, values[..., around], 0).sum(axis=-2)


def _mean(values: Array, around: Array) -> Array:
    return _sum(values, around) / (around >= 0).sum(axis=0)


def _words(query: Query, read: Occurrences, around: Array) -> Array:
    """BM25 of each row together with its neighbours, as a share of the best."""
    import numpy as np

    counts, lengths = _sum(read.counts, around), _sum(read.lengths, around)
    damped = counts + K1 * (1 - B + B * lengths / max(lengths.mean(), 1.0))
    scores = (np.array(query.rarity)[:, None] * counts * (K1 + 1) / damped).sum(axis=0)
    best = scores.max(initial=0.0)
    return scores / best if best else scores


def _header(query: Query, read: Occurrences) -> Array:
    """The share of the names asked for that an episode is about; of those that any is about."""
    import numpy as np

    wanted = [not query.names or stem in query.names for stem in query.stems]
    found = read.headings[np.array(wanted, bool)] > 0
    known = int(found.any(axis=1).sum()) or 1
    return found.sum(axis=0) / known


def _said(line: Line) -> str:
    return line.value or line.description


def _asks(line: Line) -> bool:
    said = _said(line)
    return "?" in said and _ASIDE.sub("", said).rstrip().endswith("?")
