"""The actor most tests talk to."""

from collections import deque
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from september.actors import Actor, Message, Reply


@dataclass(frozen=True, slots=True)
class Admission:
    """Where a turn stands: `ahead` is 0 when it runs now."""

    ahead: int


@dataclass(frozen=True, slots=True)
class Admit(Message[Admission]):
    """Ask for a slot."""

    turn: str


@dataclass(frozen=True, slots=True)
class Release(Message[None]):
    """Give the slot back."""

    turn: str


SlotMessage: TypeAlias = Admit | Release


class TaskSlots(Actor[SlotMessage]):
    """Lets `limit` turns run; the rest wait in order of arrival."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line: deque[str] = deque()

    async def handle(self, msg: SlotMessage) -> Reply:
        match msg:
            case Admit(turn):
                return msg.reply(self._admit(turn))
            case Release(turn):
                self._line.remove(turn)
                return msg.done()
            case _:
                assert_never(msg)

    def _admit(self, turn: str) -> Admission:
        if turn not in self._line:
            self._line.append(turn)
        return Admission(max(0, self._line.index(turn) + 1 - self._limit))
