"""What to condense: plain arithmetic over a transcript, its turns and the room there is.

All sizes are estimated tokens (`sizing`). A cut never stands between a call and its result.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Final

from msgspec import Struct

from ..transcript import StoredMessage
from .condensed import Condensed, asks, last_asked, part
from .sizing import message_size

WHOLE_TURNS: Final = 2
"""Turns, the running one included, that keep their results whole while that is possible."""

SUMMARY_SHARE: Final = 4
SUMMARY_LEAST: Final = 60
SUMMARY_MOST: Final = 2000
"""A summary may take a quarter of the room, within these bounds."""


class Room(Struct, frozen=True):
    """Room for all messages together: `limit` is what fits, `goal` what leaves room to go on."""

    goal: int
    limit: int

    @property
    def summary(self) -> int:
        """What the summary may take."""
        return max(SUMMARY_LEAST, min(SUMMARY_MOST, self.goal // SUMMARY_SHARE))


class Plan(Struct, frozen=True):
    """Show results in part up to `collapsed_seq`, and a summary for what is `gone`."""

    upto_seq: int
    collapsed_seq: int
    gone: tuple[StoredMessage, ...] = ()


def plan(entries: Sequence[StoredMessage], held: Condensed, room: Room) -> Plan | None:
    """How to make the transcript fit; None where nothing helps."""
    return next(_Planner(entries, held, room).plans(), None)


class _Planner:
    """Tries the ways to condense, the gentlest first."""

    def __init__(self, entries: Sequence[StoredMessage], held: Condensed, room: Room) -> None:
        self._held = held
        self._room = room
        self._tail = [entry for entry in entries if entry.seq > held.upto_seq]
        self._asked = last_asked(entries)
        self._whole = _sums([message_size(entry.message) for entry in self._tail])
        self._part = _sums([message_size(part(entry, self._asked)) for entry in self._tail])
        self._turns = [n for n, entry in enumerate(self._tail) if asks(entry.message)]

    def plans(self) -> Iterator[Plan]:
        if not self._tail:
            return
        yield from self._by_results(self._older_turns())
        yield from self._by_turns(self._older_turns())
        yield from self._by_results(self._all_but_newest(), self._room.limit)
        yield from self._by_turns(self._all_but_newest())
        yield from self._by_steps(self._all_but_newest())
        yield from self._by_results(len(self._tail), self._room.limit)
        yield from self._by_steps(len(self._tail))

    def _by_results(self, collapse: int, most: int | None = None) -> Iterator[Plan]:
        """Show the results before `collapse` in part; that alone must be worth it."""
        seq = self._seq_before(collapse)
        held_summary = len(self._held.summary) // 4
        fits = self._size(0, collapse) + held_summary <= (most or self._room.goal)
        if fits and seq > self._held.collapsed_seq:
            yield Plan(self._held.upto_seq, seq)

    def _by_turns(self, collapse: int) -> Iterator[Plan]:
        """Summarise whole turns, as few as will do; the running one stays."""
        cuts = [cut for cut in self._turns if cut > 0]
        yield from self._cut(cuts, collapse, self._room.goal)
        yield from self._cut(cuts[-1:], collapse, self._room.limit)

    def _by_steps(self, collapse: int) -> Iterator[Plan]:
        """Summarise the beginning of the running turn too; what it answers stays."""
        begin = self._turns[-1] if self._turns else 0
        cuts = [
            n
            for n in range(begin + 1, len(self._tail))
            if self._tail[n].message.role == "assistant"
        ]
        yield from self._cut(cuts, collapse, self._room.goal)
        yield from self._cut(cuts[-1:], collapse, self._room.limit)

    def _cut(self, cuts: Sequence[int], collapse: int, most: int) -> Iterator[Plan]:
        for cut in cuts:
            if self._size(cut, collapse) + self._room.summary <= most:
                collapsed_seq = max(self._held.collapsed_seq, self._seq_before(collapse))
                yield Plan(self._tail[cut - 1].seq, collapsed_seq, tuple(self._tail[:cut]))

    def _size(self, cut: int, collapse: int) -> int:
        """What the messages from `cut` on take, with those before `collapse` in part."""
        collapse = max(collapse, self._already())
        split = max(cut, min(collapse, len(self._tail)))
        size = self._part(cut, split) + self._whole(split, len(self._tail))
        if self._asked is not None and self._asked.seq < self._tail[cut].seq:
            size += message_size(self._asked.message)
        return size

    def _already(self) -> int:
        """How many messages of the tail are shown in part now."""
        return sum(entry.seq <= self._held.collapsed_seq for entry in self._tail)

    def _older_turns(self) -> int:
        return self._turns[-WHOLE_TURNS] if len(self._turns) >= WHOLE_TURNS else 0

    def _all_but_newest(self) -> int:
        """Up to the newest message of the model, whose results it has not seen yet."""
        places = [n for n, entry in enumerate(self._tail) if entry.message.role == "assistant"]
        return places[-1] if places else 0

    def _seq_before(self, place: int) -> int:
        return self._tail[place - 1].seq if place else 0


def _sums(sizes: Sequence[int]) -> Callable[[int, int], int]:
    """The sum of any stretch of `sizes`."""
    upto = [0, *accumulate(sizes)]
    return lambda begin, end: upto[end] - upto[begin]
