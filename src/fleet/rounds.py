"""Rounds: work that the leading orchestrator does over and over."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Final, TypeAlias, assert_never

import trio

from ..actors import Actor, Later, Message, Reply
from ..errors import SeptemberError
from ..logs import get_logger
from .backends.backend import BackendError
from .membership import Standing

_log = get_logger("september.fleet.rounds")

_JITTER: Final = 0.1
"""Share by which the time between two rounds varies, so that several kinds do not fall together."""

_WAIT_FOR_LEAD_S: Final = 0.2

Round: TypeAlias = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class GoRound(Message[None]):
    """Make a round now, leading or not; answered when it is done."""


RoundMessage: TypeAlias = GoRound


class Rounds(Actor[RoundMessage]):
    """Makes a round every `interval` seconds while this orchestrator leads, the first at once.

    A round that finds the database or the backend out of reach is over; the next one follows.
    `beside` is more work of the same kind that goes on all the time.
    """

    def __init__(
        self,
        name: str,
        make_round: Round,
        interval: float,
        standing: Standing,
        also: Round | None = None,
        chance: Random | None = None,
    ) -> None:
        self._name = name
        self._make_round = make_round
        self._interval = interval
        self._standing = standing
        self._also = also
        self._chance = chance or Random()
        self._one_at_a_time = trio.Lock()

    async def started(self) -> None:
        self.beside(self._keep_going)
        if self._also is not None:
            self.beside(self._also)

    async def handle(self, msg: RoundMessage) -> Reply | Later:
        match msg:
            case GoRound():
                return msg.reply_after(self._go_round)
            case _:
                assert_never(msg)

    async def _keep_going(self) -> None:
        while True:
            if not self._standing.leads:
                await trio.sleep(_WAIT_FOR_LEAD_S)
                continue
            await self._go_round()
            await trio.sleep(self._interval * (1 + _JITTER * (2 * self._chance.random() - 1)))

    async def _go_round(self) -> None:
        async with self._one_at_a_time:
            try:
                await self._make_round()
            except (SeptemberError, BackendError) as error:
                _log.warning("round cut short", round=self._name, why=str(error))
