"""The ranking of episodes: a few features of each candidate and its neighbours, summed.

What was said just before and after belongs to what was said: two turns on either side are looked
at together with each candidate. The weights were fitted on two conversations and checked on the
third, each in turn, and then rounded; `docs/memory.md` has what each is worth.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Final

from .codes import Array
from .dates import named_date
from .episodes import Episode
from .words import Query, stems

REACH: Final = 2
"""Neighbours on either side that count."""

SITTING_MS: Final = 3_600_000
"""Episodes written one after the other and no further apart in time are neighbours."""

HALF_LIFE_MS: Final = 30 * 86_400_000
"""Age at which an episode's small bonus for being new is half gone."""

K1: Final = 1.2
B: Final = 0.75
"""BM25's usual constants, those of FTS5."""

_SPEAKER: Final = re.compile(r"\s*([^:\n]{1,40}):\s")
_ASIDE: Final = re.compile(r"\s*[\[(][^\])]*[\])]\s*$")


@dataclass(frozen=True, slots=True)
class Weights:
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


@dataclass(frozen=True, slots=True)
class Candidate:
    """An episode with its row number, which says what was written before and after it."""

    rowid: int
    episode: Episode


def rank(
    query: Query,
    rows: Sequence[Candidate],
    cosines: Mapping[int, float],
    now: int,
    weights: Weights = WEIGHTS,
) -> dict[int, float]:
    """Score every row, higher is better. `rows` come by rowid, with the neighbours they have."""
    import numpy as np

    around = _neighbours(rows)
    meaning = np.array([max(cosines.get(row.rowid, 0.0), 0.0) for row in rows])
    date = named_date(query.text)
    score = (
        weights.words * _words(query, rows, around)
        + weights.meaning * meaning
        + weights.context * _mean(meaning, around)
        + weights.header * _header(query, rows)
        + weights.length * np.array([log(1 + len(row.episode.value.split())) for row in rows])
        + weights.question * np.array([_asks(row.episode) for row in rows])
        + weights.recency * np.array([_recency(row.episode, now) for row in rows])
    )
    if date is not None:
        score += weights.date * np.array([date.fit(row.episode.occurred_at) for row in rows])
    return {row.rowid: float(one) for row, one in zip(rows, score, strict=True)}


def _neighbours(rows: Sequence[Candidate]) -> Array:
    """For each row the places of itself and its neighbours, as `[2 * REACH + 1, n]`; -1: none."""
    import numpy as np

    ids = np.array([row.rowid for row in rows])
    times = np.array([row.episode.occurred_at for row in rows])
    places = np.arange(len(rows))
    found = np.full((2 * REACH + 1, len(rows)), -1)
    for line, step in enumerate(range(-REACH, REACH + 1)):
        inside = places[(places + step >= 0) & (places + step < len(rows))]
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


def _words(query: Query, rows: Sequence[Candidate], around: Array) -> Array:
    """BM25 of each row together with its neighbours, as a share of the best."""
    import numpy as np

    place = {stem: at for at, stem in enumerate(query.stems)}
    counts = np.zeros((len(place), len(rows)))
    lengths = np.zeros(len(rows))
    for at, row in enumerate(rows):
        said = stems(_text(row.episode))
        lengths[at] = len(said)
        for stem in said:
            if stem in place:
                counts[place[stem], at] += 1
    counts, lengths = _sum(counts, around), _sum(lengths, around)
    damped = counts + K1 * (1 - B + B * lengths / max(lengths.mean(), 1.0))
    scores = (np.array(query.rarity)[:, None] * counts * (K1 + 1) / damped).sum(axis=0)
    best = scores.max(initial=0.0)
    return scores / best if best else scores


def _header(query: Query, rows: Sequence[Candidate]) -> Array:
    """The share of the names asked for that an episode is about; of those that any is about."""
    import numpy as np

    wanted = query.names or frozenset(query.stems)
    headers = [wanted.intersection(stems(_heading(row.episode))) for row in rows]
    known = len(frozenset[str]().union(*headers)) or 1
    return np.array([len(header) / known for header in headers])


def _heading(episode: Episode) -> str:
    speaker = _SPEAKER.match(episode.value)
    spoken = speaker[1] if speaker else ""
    return f"{episode.key} {episode.description[:200]} {spoken}"


def _text(episode: Episode) -> str:
    if episode.value.startswith(episode.description):
        return f"{episode.key} {episode.value}"
    return f"{episode.key} {episode.description} {episode.value}"


def _asks(episode: Episode) -> bool:
    value = episode.value
    return "?" in value and _ASIDE.sub("", value).rstrip().endswith("?")


def _recency(episode: Episode, now: int) -> float:
    return float(0.5 ** (max(now - episode.occurred_at, 0) / HALF_LIFE_MS))
