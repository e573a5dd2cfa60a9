"""The actor that measures how late the event loop is: what blocks it holds up everything."""

from collections.abc import Callable
from typing import Final

import trio
from msgspec import Struct

from ...actors import Actor, Later, Message, span_scope
from ...traces.recorder import SILENT

EVERY_S: Final = 0.25


class Measure(Message[None], Struct, frozen=True):
    """Measure from now on; the actor tells itself, once in each of its lives."""


class LoopLag(Actor[Measure]):
    """Sleeps again and again, and tells by how many seconds it overslept."""

    def __init__(self, tell: Callable[[float], None]) -> None:
        self._tell = tell

    async def started(self) -> None:
        self.ref.cast(Measure())

    async def handle(self, msg: Measure) -> Later:
        return msg.reply_after(self._measure)

    async def _measure(self) -> None:
        with span_scope(SILENT):
            while True:
                due = trio.current_time() + EVERY_S
                await trio.sleep_until(due)
                self._tell(max(0.0, trio.current_time() - due))
