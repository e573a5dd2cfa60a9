"""Where the words of a query stand in many episodes: all texts are read in one go."""

import re
from collections.abc import Collection, Sequence
from typing import Final

from msgspec import Struct

from .episodes import Line
from .rotation import Array
from .words import Query, stems

HEADING: Final = 200
"""Characters of a description that say what an episode is about; what follows is its text."""

_MARK: Final = "\x00"
_TOKEN: Final = re.compile(rf"[^\W_]+|{_MARK}")
_NONE: Final = -1
_END: Final = -2
_SPEAKER: Final = re.compile(r"\s*([^:\n]{1,40}):\s")


class Occurrences(Struct, frozen=True):
    """How often each stem of a query stands in each row, `[stem, row]`: in all, in its heading.

    `lengths` is the number of words of each row.
    """

    counts: Array
    headings: Array
    lengths: Array


def occurrences(query: Query, lines: Sequence[Line]) -> Occurrences:
    """Read the lines with the words of `query` in mind."""
    import numpy as np

    text = "".join(map(_marked, lines)).lower()
    words = _TOKEN.findall(text)
    place_of = _places(query, set(words), plain=text.isascii())
    read = np.array(list(map(place_of.__getitem__, words)), np.int64)
    ends = np.flatnonzero(read == _END)
    part = np.cumsum(read == _END)  # even: a heading, odd: the rest of its row
    hits = np.flatnonzero(read >= 0)
    shape = len(query.stems), len(ends)
    counted = np.bincount(read[hits] * len(ends) + part[hits], minlength=shape[0] * shape[1])
    parts = counted.reshape(shape)
    sizes = np.diff(ends, prepend=-1) - 1
    return Occurrences(parts[:, 0::2] + parts[:, 1::2], parts[:, 0::2], sizes[0::2] + sizes[1::2])


def _places(query: Query, words: Collection[str], *, plain: bool) -> dict[str, int]:
    """Which stem of the query each word has. Stemming changes a stem's last letter at most.

    Where the text is not `plain` ASCII it also takes accents away, from any letter.
    """
    stem_at = {stem: at for at, stem in enumerate(query.stems)}
    begins = tuple({stem[: max(2, len(stem) - 1)] for stem in query.stems})
    alike = [word for word in words if word.startswith(begins)]
    if not plain:
        alike += [word for word in words if not word.isascii()]
    place_of = dict.fromkeys(words, _NONE)
    for word in alike:
        place_of[word] = next((stem_at[s] for s in stems(word) if s in stem_at), _NONE)
    place_of[_MARK] = _END
    return place_of


def _marked(line: Line) -> str:
    """A row's text: its heading and a mark, the rest and a mark. What is said twice counts once."""
    speaker = _SPEAKER.match(line.value)
    value = line.value[speaker.end() :] if speaker else line.value
    spoken = speaker[1] if speaker else ""
    described = "" if line.value.startswith(line.description) else line.description
    heading = f"{line.key} {described[:HEADING]} {spoken}".replace(_MARK, " ")
    rest = f"{described[HEADING:]} {value}".replace(_MARK, " ")
    return f"{heading}{_MARK}{rest}{_MARK}"
