"""Taking secrets out of outgoing text, whole or as it streams.

A stream is split anywhere, also inside a secret. The scrubber holds back only what may still
turn out to be one: nothing of ordinary prose, and of a suspicious run only until it is decided.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias, cast

from ..channels.events import JsonObject
from .shapes import (
    EXACT_MARK,
    SHAPES,
    SHORTEST_VALUE,
    UNDECIDED,
    Exactly,
    Found,
    Shape,
    Undecided,
    any_mark,
)

REDACTED: Final = "[redacted]"

_MEMORY: Final = 12
"""Characters kept of what was sent: one of context, and the beginning of a mark."""

_FRESH: Final = " "
"""The context of a text's beginning, and of what follows a secret."""


_KEY: Final = 2

_SHORT: Final = 100
"""Characters of a text that is worth remembering as one without secrets."""

_CLEAN_KEPT: Final = 1_000
"""Texts that are remembered: some 150 KB."""

Shapes: TypeAlias = dict[str, list[tuple[str, Shape]]]
"""Each mark and its shape, by the mark's first `_KEY` characters."""


class _Knowledge:
    """What is known of secrets at one time, and short texts that by it hold none."""

    __slots__ = ("_clean", "mark", "shapes")

    def __init__(self, every: Iterable[Shape]) -> None:
        self.mark = any_mark(every)
        self.shapes: Shapes = {}
        for shape in every:
            for mark in shape.marks:
                self.shapes.setdefault(mark[:_KEY], []).append((mark, shape))
        self._clean: set[str] = set()

    def stream(self) -> "StreamScrubber":
        """Begin a text that will come in pieces."""
        return StreamScrubber(self.shapes, self.mark)

    def scrub(self, text: str) -> str:
        """Return `text` with every secret replaced."""
        # Ids, paths and names come again and again, and every `task-` holds the mark `sk-`.
        if len(text) > _SHORT:
            return self._scrubbed(text)
        if text in self._clean:
            return text
        scrubbed = self._scrubbed(text)
        if scrubbed == text:
            if len(self._clean) >= _CLEAN_KEPT:
                self._clean.clear()
            self._clean.add(text)
        return scrubbed

    def _scrubbed(self, text: str) -> str:
        if self.mark.search(text) is None:
            return text
        stream = self.stream()
        return stream.feed(text) + stream.flush()


class SecretScrubber:
    """Knows the shapes of secrets and the Engine's own; makes scrubbers of single streams.

    May be used from any thread: what is learned replaces all that was known at once.
    """

    def __init__(self, values: Iterable[str] = (), shapes: tuple[Shape, ...] = SHAPES) -> None:
        """`values` are exact secrets; those shorter than SHORTEST_VALUE are left alone."""
        self._values = frozenset(values)
        self._further = shapes
        self._known = self._know()

    def learn(self, values: Iterable[str]) -> None:
        """Know these exact secrets, too, from the next text on."""
        new = frozenset(values) - self._values
        if new:
            self._values = self._values.union(new)
            self._known = self._know()

    def _know(self) -> _Knowledge:
        known = sorted(value for value in self._values if len(value) >= SHORTEST_VALUE)
        return _Knowledge((*map(Exactly, known), *self._further))

    def stream(self) -> "StreamScrubber":
        """Begin a text that will come in pieces."""
        return self._known.stream()

    def scrub(self, text: str) -> str:
        """Return `text` with every secret replaced."""
        return self._known.scrub(text)

    def scrub_json(self, value: JsonObject) -> JsonObject:
        """Return a copy of a JSON object with every text in it scrubbed, keys included."""
        return {self.scrub(key): _scrubbed(self.scrub, item) for key, item in value.items()}


def _scrubbed(scrub: Callable[[str], str], value: object) -> object:
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, list):
        return [_scrubbed(scrub, item) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        items = cast("JsonObject", value).items()
        return {scrub(key): _scrubbed(scrub, item) for key, item in items}
    return value


class StreamScrubber:
    """One text in pieces: `feed` returns what is safe to send, `flush` what is left.

    However the text is split, the pieces returned add up to the same.
    """

    __slots__ = ("_mark", "_more", "_seen", "_sent", "_shapes")

    def __init__(self, shapes: Shapes, mark: re.Pattern[str]) -> None:
        self._shapes = shapes
        self._mark = mark
        self._seen = _FRESH  # a character of context, the last ones sent, those held back
        self._sent = len(_FRESH)  # how many of them were sent
        self._more: re.Pattern[str] | None = None  # what continues the secret being dropped

    @property
    def held(self) -> int:
        """How many characters wait for a verdict."""
        return len(self._seen) - self._sent

    def feed(self, text: str) -> str:
        """Take the next piece; return what can be sent now."""
        seen = self._seen
        if self._more is None and self._sent == len(seen):
            window = seen + text
            if self._mark.search(window, 1) is None:
                self._seen = window = window[-_MEMORY:]
                self._sent = len(window)
                return text
        return self._scan(self._after_secret(text), final=False)

    def flush(self) -> str:
        """End the text; return what was held back and is no secret."""
        self._more = None
        return self._scan("", final=True)

    def _after_secret(self, text: str) -> str:
        """Drop the rest of a secret that was cut by the last piece's end."""
        if self._more is None:
            return text
        rest = self._more.match(text)
        end = rest.end() if rest else 0
        if end < len(text):
            self._more = None
        return text[end:]

    def _scan(self, text: str, *, final: bool) -> str:
        seen, sent, at = self._seen + text, self._sent, 1
        out: list[str] = []
        while (mark := self._mark.search(seen, at)) is not None:
            start, verdict = self._judge(seen, mark.start(), final)
            if verdict is None:
                at = mark.start() + 1
            elif isinstance(verdict, Undecided):
                out.append(seen[sent:start])
                self._remember(seen, max(sent, start))
                return "".join(out)
            else:
                out += (seen[sent:start], REDACTED)
                seen, sent, at = _FRESH + seen[verdict.end :], len(_FRESH), 1
                self._more = verdict.more
        out.append(seen[sent:])
        harmless = max(0, min(at - 1, len(seen) - EXACT_MARK))  # `sk-` may be growing into `sk-a`
        self._remember(seen[harmless:], len(seen) - harmless)
        return "".join(out)

    def _judge(self, seen: str, begin: int, final: bool) -> tuple[int, Found | Undecided | None]:
        """What the shapes whose mark stands at `begin` say together, and where the secret starts.

        All must be decided before any is believed: else the split would decide between them.
        """
        found: list[tuple[int, Found]] = []
        waiting: list[int] = []
        inside_word = seen[begin - 1].isascii() and seen[begin - 1].isalnum()
        for mark, shape in self._shapes[seen[begin : begin + _KEY]]:
            if not seen.startswith(mark, begin) or (inside_word and shape.bounded):
                continue
            start = begin + len(mark)
            verdict = shape.judge(seen, start, final)
            if isinstance(verdict, Found):
                found.append((start, verdict))
            elif verdict is not None:
                waiting.append(start)
        if waiting:
            return min(waiting + [start for start, _ in found]), UNDECIDED
        if not found:
            return begin, None
        return min(start for start, _ in found), max((f for _, f in found), key=_reach)

    def _remember(self, seen: str, sent: int) -> None:
        """Keep what is held back, and before it what a mark may have begun in."""
        context = max(0, sent - _MEMORY)
        self._seen = seen[context:]
        self._sent = sent - context


def _reach(found: Found) -> tuple[int, bool]:
    return found.end, found.more is not None
