"""Whether what an actor says now is what it said then: ids may be others, times a little later."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final, cast

import msgspec

from .rebuild import CUT, PLACEHOLDER

_ID: Final = re.compile(
    r"(?<![0-9a-f])(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32})"
    r"(?![0-9a-f])"
)
"""What is drawn by chance: the ids of `new_id`, tickets, UUIDs."""

_UNITS: Final = (("_ms", 1e3), ("_at", 1e3), ("due", 1e3), ("_us", 1e6), ("_s", 1.0))
_SECONDS: Final = frozenset({"seconds", "retry_after"})

_SLACK_S: Final = 0.05
"""Work between two steps of a replay takes no time; then it took some."""


_CUT: Final = object()


class Ids:
    """Which id of now stands for which of then. An id is learned where it is first seen."""

    def __init__(self, recorded: Iterable[str]) -> None:
        self._then = {one for text in recorded for one in _ID.findall(text)}
        self._to_now: dict[str, str] = {}
        self._to_then: dict[str, str] = {}

    def learn(self, then: str, now: str) -> None:
        """Pair the ids in two texts that stand for the same."""
        before, after = _ID.findall(then), _ID.findall(now)
        if len(before) != len(after):
            return
        for old, new in zip(before, after, strict=True):
            if new not in self._then and old not in self._to_now and new not in self._to_then:
                self._to_now[old], self._to_then[new] = new, old

    def like_path(self, then: str, now: str) -> bool:
        """Whether two paths are the same, but for ids that are not known to be others."""
        if self.as_then(now) == then:
            return True
        fresh = any(one not in self._to_then and one not in self._then for one in _ID.findall(now))
        return fresh and _ID.sub("*", then) == _ID.sub("*", now)

    def as_now(self, text: str) -> str:
        """A text of the record, with the ids of the replay."""
        return _ID.sub(lambda found: self._to_now.get(found[0], found[0]), text)

    def as_then(self, text: str) -> str:
        """A text of the replay, with the ids of the record."""
        return _ID.sub(lambda found: self._to_then.get(found[0], found[0]), text)


def alike(then: str, now: str, ids: Ids, took_s: float) -> bool:
    """Whether two rendered values are the same; times in them may differ by `took_s` seconds."""
    now = ids.as_then(now)
    if then == now:
        return True
    type_then, value_then = _parsed(then)
    type_now, value_now = _parsed(now)
    if type_then != type_now:
        return False
    return value_then is _CUT or _same(value_then, value_now, "", took_s + _SLACK_S)


def _parsed(text: str) -> tuple[str, object]:
    """The types in front of an answer, and the JSON after them: _CUT if it is none."""
    start = min((found for found in map(text.find, '{["') if found >= 0), default=-1)
    head, body = (text[:start], text[start:]) if start >= 0 else (text, "null")
    try:
        return head, cast("object", msgspec.json.decode(body))
    except msgspec.DecodeError:
        return head, _CUT


def _same(then: object, now: object, name: str, slack_s: float) -> bool:
    match then, now:
        case dict(), dict():
            before, after = cast("dict[str, object]", then), cast("dict[str, object]", now)
            return before.keys() == after.keys() and all(
                _same(before[key], after[key], key, slack_s) for key in before
            )
        case list(), list():
            first, second = cast("list[object]", then), cast("list[object]", now)
            return len(first) == len(second) and all(
                _same(a, b, name, slack_s) for a, b in zip(first, second, strict=True)
            )
        case str(), str():
            return _same_text(then, now, slack_s)
        case ((int() | float()), (int() | float())) if not isinstance(then, bool):
            return then == now or abs(then - now) <= slack_s * _unit(name)
        case _:
            return then == now


def _unit(name: str) -> float:
    """How many of its units make a second; 0 for what is no time."""
    if name in _SECONDS:
        return 1.0
    return next((per_s for ending, per_s in _UNITS if name.endswith(ending)), 0.0)


def _same_text(then: str, now: str, slack_s: float) -> bool:
    if then == now:
        return True
    cut = CUT.search(then)
    kept = then[: cut.start()] if cut is not None else then
    pattern = ".*".join(re.escape(part) for part in PLACEHOLDER.split(kept))
    if (cut or PLACEHOLDER.search(kept)) and re.match(pattern, now, re.DOTALL):
        return True
    try:
        apart = datetime.fromisoformat(then) - datetime.fromisoformat(now)
    except (ValueError, TypeError):
        return False
    return abs(apart.total_seconds()) <= slack_s
