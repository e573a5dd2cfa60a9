"""One running turn: an actor, so that it can be cancelled, watched and traced."""

from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias, assert_never

import trio
from msgspec import Struct

from ...actors import Actor, Later, Message, Reply, work_span
from ...errors import SeptemberError
from ..channels.channel import Channel
from ..hitl import Withdraw
from .closing import Ending, close, complete
from .job import Job
from .loop import AgentLoop
from .opening import open_turn
from .pulse import Pulse
from .spans import TurnSpan
from .workshop import Workshop

CLOSING_S: Final = 5.0
"""How long a turn may take to write its ending; then the coordinator closes it."""


class Begin(Message[None], Struct, frozen=True):
    """Run the turn; it stops by itself at the end."""


class CancelTurn(Message[None], Struct, frozen=True):
    """End the turn now, this way; answered when it has ended."""

    ending: Ending


class Finished(Message[None], Struct, frozen=True):
    """The turn has written its last event."""


TurnMessage: TypeAlias = Begin | CancelTurn | Finished


class Turn(Actor[TurnMessage]):
    """Runs one job from its first event to its last."""

    urgent = (CancelTurn,)

    def __init__(self, workshop: Workshop, job: Job) -> None:
        self._run = TurnRun(workshop, job)

    async def handle(self, msg: TurnMessage) -> Reply | Later:
        match msg:
            case Begin():
                return msg.reply_after(partial(self._run.to_its_end, self._finished))
            case CancelTurn(ending):
                self._run.cancel(ending)
                return msg.reply_after(self._run.wait_ended)
            case Finished():
                self.stop()
                return msg.done()
            case _:
                assert_never(msg)

    def _finished(self) -> None:
        self.ref.cast(Finished())


class TurnRun:
    """The work of a turn, beside the actor's inbox.

    It ends in one of four ways: completed, cancelled, failed (an error with a code) or crashed.
    The first three write their last events here; after a crash, or when the Engine stops, the
    turn stays open in the brain for the coordinator or the next process to close.
    """

    def __init__(self, workshop: Workshop, job: Job) -> None:
        self._workshop = workshop
        self._job = job
        self._channel = Channel(workshop.log, job.task_id, job.turn_id)
        self._scope = trio.CancelScope()
        self._ending: Ending | None = None
        self._ended = trio.Event()

    def cancel(self, ending: Ending) -> None:
        """End the run with `ending` unless it is ending already."""
        if self._ending is None:
            self._ending = ending
            self._scope.cancel(reason=ending.reason)

    async def wait_ended(self) -> None:
        """Wait until the last event is written."""
        await self._ended.wait()

    async def to_its_end(self, on_end: Callable[[], None]) -> None:
        """Run the turn, then write how it ended."""
        with work_span(f"invoke_agent {self._job.agent.name}", TurnSpan.of(self._job)) as span:
            try:
                with self._scope:
                    await self._work()
            except* SeptemberError as failures:
                self._ending = self._ending or Ending("errored", "failed", _first(failures))
            if self._ending is not None:
                span.outcome, span.detail = _outcome(self._ending)
                await self._close(self._ending)
        self._ended.set()
        on_end()

    async def _work(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._channel.run)
            nursery.start_soon(Pulse(self._workshop, self._job, self._channel).run)
            await self._job.seat.take()
            opening = partial(open_turn, self._workshop.database, self._channel, self._job)
            await AgentLoop(self._workshop, self._job, self._channel).run(opening)
            await complete(self._channel, self._job.task_id, self._job.turn_id)
            nursery.cancel_scope.cancel()

    async def _close(self, ending: Ending) -> None:
        job, workshop = self._job, self._workshop
        with trio.move_on_after(CLOSING_S, shield=True):
            await self._channel.commit()
            await workshop.approvals.call(Withdraw(job.task_id, job.turn_id))
            await close(workshop.database, workshop.log, job.task_id, job.turn_id, ending)


def _outcome(ending: Ending) -> tuple[str, str]:
    """How the turn's span ended, and why."""
    if ending.error is None:
        return ending.phase, ending.reason
    return ending.error.code, ending.error.message


def _first(failures: BaseExceptionGroup[SeptemberError]) -> SeptemberError:
    error: BaseException = failures
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, SeptemberError)
    return error
