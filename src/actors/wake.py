"""Waking a parked task."""

from collections.abc import AsyncGenerator, Generator
from typing import Final, TypeVar, final

import outcome
import trio

ResultT = TypeVar("ResultT")


@final
class _Woken(outcome.Outcome[None]):
    """Nothing, as what a parked task resumes with; unlike `outcome.Value` it serves many times."""

    __slots__ = ()

    def unwrap(self) -> None:
        return None

    def send(self, gen: Generator[ResultT, None, object]) -> ResultT:
        return gen.send(None)

    async def asend(self, agen: AsyncGenerator[ResultT, None]) -> ResultT:
        return await agen.asend(None)


_WOKEN: Final = _Woken()


def wake(task: trio.lowlevel.Task) -> None:
    """Let a task go on that waits in `wait_task_rescheduled`; whatever it waited for is here."""
    trio.lowlevel.reschedule(task, _WOKEN)
