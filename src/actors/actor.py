"""Actors: what one is, and the proof that some handlers never suspend."""

import dis
from collections.abc import Awaitable, Callable
from inspect import CO_COROUTINE
from math import inf
from types import FunctionType
from typing import ClassVar, Final, Generic, TypeVar

from .cell import Cell, Envelope
from .message import Later, Message, Reply
from .ref import ActorRef

M = TypeVar("M")

_SUSPENDING: Final = frozenset(
    {
        "ASYNC_GEN_WRAP",
        "BEFORE_ASYNC_WITH",
        "GET_AITER",
        "GET_ANEXT",
        "GET_AWAITABLE",
        "GET_YIELD_FROM_ITER",
        "SEND",
        "YIELD_FROM",
        "YIELD_VALUE",
    }
)
"""The operations at which a coroutine may suspend, in CPython 3.11 to 3.14."""


def never_suspends(function: object) -> bool:
    """Whether this coroutine function provably runs to its end in one step.

    True when its byte code contains no await, async for, async with or yield.
    """
    if not isinstance(function, FunctionType) or not function.__code__.co_flags & CO_COROUTINE:
        return False
    return all(step.opname not in _SUSPENDING for step in dis.get_instructions(function))


class Beside(Message[None]):
    """Stands for work that an actor began by itself, so that it has a span."""

    __slots__ = ()


class Actor(Generic[M]):
    """Owns something that runs. Subclass it, and answer each message of the union `M`."""

    urgent: ClassVar[tuple[type, ...]] = ()
    """Message types that overtake the ordinary ones and that no full mailbox holds up."""

    inline: ClassVar[bool] = False
    """Whether `handle` never suspends, and so may run in its caller's task: found, not set."""

    replayable: ClassVar[bool] = False
    """Whether its mailbox can be fed to another instance: see docs/traces.md.

    For an actor that touches the outside through other actors only, apart from the clock and ids.
    The trace then keeps what it answers and what it is answered, so that should be small.
    """

    _cell: Cell

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.inline = never_suspends(cls.handle)

    async def handle(self, msg: M) -> Reply | Later:
        """Answer one message. What it raises is a crash: the supervisor decides what follows."""
        raise NotImplementedError

    async def started(self) -> None:
        """Run before the first message, in the actor's task; what it raises is a failed start."""

    async def stopping(self) -> None:
        """Run at the end, also after a crash; shielded, for at most the shutdown time."""

    @property
    def ref(self) -> ActorRef[M]:
        """This actor's own ref; there is one from `started` on."""
        return ActorRef(self._cell)

    @property
    def incarnation(self) -> int:
        """1 for the first life, one more after each restart."""
        return self._cell.incarnation

    def stop(self) -> None:
        """Stop after the message in hand: a normal end, not a crash."""
        self._cell.ask_to_stop()

    def beside(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` beside the inbox, in this actor's own nursery.

        Cancelled when the actor ends; its exception crashes the actor. Like `reply_after`, it
        must not touch the actor's state: its findings come back as messages to `self.ref`.
        """
        envelope = Envelope(Beside(), self._cell, None, inf)
        self._cell.begin_work(envelope, Later(work))

    def join_cell(self, cell: Cell) -> None:
        """Learn one's address; called by the runtime before `started`."""
        self._cell = cell
        cell.urgent |= frozenset(self.urgent)
        cell.replayable = self.replayable
