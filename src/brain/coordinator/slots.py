"""Task slots: how many turns may run at once, and who is next in line."""

from collections import OrderedDict
from typing import TypeAlias, assert_never

import trio
from msgspec import Struct

from ...actors import Actor, Later, Message, Reply


class Admission(Struct, frozen=True):
    """Where a turn stands: `ahead` is 0 when it runs now."""

    ahead: int


class Full(Struct, frozen=True):
    """No slot is free and the line is full; `waiting` turns stand in it."""

    waiting: int


class Admit(Message[Admission | Full], Struct, frozen=True):
    """Ask for a slot; asking twice is the same as asking once.

    `always` joins the line however long it is: for a turn that has already been accepted.
    """

    turn: str
    always: bool = False


class AwaitSlot(Message[None], Struct, frozen=True):
    """Wait until this admitted turn has its slot; a turn that was never admitted is, first."""

    turn: str


class Release(Message[None], Struct, frozen=True):
    """Give the slot, or the place in the line, back; the longest waiter moves up."""

    turn: str


class Occupancy(Struct, frozen=True):
    """How many turns hold a slot and how many wait for one."""

    running: int
    waiting: int


class CountSlots(Message[Occupancy], Struct, frozen=True):
    """How busy the slots are."""


SlotMessage: TypeAlias = Admit | AwaitSlot | Release | CountSlots


class TaskSlots(Actor[SlotMessage]):
    """Lets `limit` turns run; up to `line` more wait in order of arrival."""

    replayable = True

    def __init__(self, limit: int, line: int) -> None:
        self._limit = limit
        self._capacity = limit + line
        # In order of arrival: the first `limit` run, the others wait for their event.
        self._turns: OrderedDict[str, trio.Event] = OrderedDict()

    async def handle(self, msg: SlotMessage) -> Reply | Later:
        match msg:
            case Admit(turn, always):
                return msg.reply(self._admit(turn, always))
            case AwaitSlot(turn):
                self._admit(turn, always=True)
                granted = self._turns[turn]
                return msg.done() if granted.is_set() else msg.reply_after(granted.wait)
            case Release(turn):
                self._release(turn)
                return msg.done()
            case CountSlots():
                running = min(len(self._turns), self._limit)
                return msg.reply(Occupancy(running, len(self._turns) - running))
            case _:
                assert_never(msg)

    def _admit(self, turn: str, always: bool) -> Admission | Full:
        if turn not in self._turns:
            if len(self._turns) >= self._capacity and not always:
                return Full(waiting=len(self._turns) - self._limit)
            self._turns[turn] = trio.Event()
            self._wake()
        place = list(self._turns).index(turn) + 1
        return Admission(ahead=max(0, place - self._limit))

    def _release(self, turn: str) -> None:
        if self._turns.pop(turn, None) is not None:
            self._wake()

    def _wake(self) -> None:
        for place, event in enumerate(self._turns.values()):
            if place >= self._limit:
                return
            event.set()
