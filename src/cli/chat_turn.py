"""One turn with a person at the terminal: shown as it comes, questions asked, Ctrl-C heeded."""

import math
import signal
from enum import Enum
from typing import Final

import trio

from ..brain.channels.events import Error, HitlRequest, HitlResolved, ThreadLifecycle
from ..errors import SeptemberError
from .keyboard import Keyboard
from .screen import Screen
from .sse_client import Backoff, EngineClient, EngineUnreachable, Received, TurnToFollow

_YES_NO: Final = {"y": "yes", "yes": "yes", "n": "no", "no": "no"}


class Outcome(Enum):
    """How a turn ended for the person who watched it."""

    COMPLETED = "the turn completed"
    ERRORED = "the turn errored"
    CANCELLED = "the turn was cancelled"
    LEFT = "the person left before the end"


class ChatTurn:
    """Follows one turn on `screen` and answers for the person at `keyboard`."""

    def __init__(self, client: EngineClient, keyboard: Keyboard, screen: Screen) -> None:
        self._client = client
        self._keyboard = keyboard
        self._screen = screen
        self._outcome = Outcome.LEFT
        self._open: dict[str, trio.CancelScope] = {}  # the questions that wait, by request id
        self._ask, self._questions = trio.open_memory_channel[HitlRequest](math.inf)

    async def run(self, turn: TurnToFollow) -> Outcome:
        """Follow `turn` to its end. Raises SeptemberError if the Engine refuses it or is gone."""
        refusal: SeptemberError | None = None
        async with trio.open_nursery() as nursery:
            await nursery.start(self._heed_interrupts, turn.task_id, nursery.cancel_scope)
            nursery.start_soon(self._answer_questions, turn.task_id, nursery.cancel_scope)
            try:
                await self._client.follow(turn, self._receive)
            except SeptemberError as error:
                refusal = error
            nursery.cancel_scope.cancel()
        if refusal is not None:
            raise refusal
        return self._outcome

    def _receive(self, received: Received) -> None:
        self._screen.show(received)
        match received.event:
            case ThreadLifecycle(phase="completed"):
                self._outcome = Outcome.COMPLETED
            case ThreadLifecycle(phase="cancelled"):
                self._outcome = Outcome.CANCELLED
            case Error():
                self._outcome = Outcome.ERRORED
            case HitlRequest() as request:
                self._open[request.request_id] = trio.CancelScope()
                self._ask.send_nowait(request)
            case HitlResolved(request_id=request_id):
                self._withdraw(request_id)
            case _:
                pass

    def _withdraw(self, request_id: str) -> None:
        """Answered by us or elsewhere, expired, or cancelled: ask no more."""
        scope = self._open.pop(request_id, None)
        if scope is not None:
            scope.cancel()

    async def _answer_questions(self, task_id: str, turn_scope: trio.CancelScope) -> None:
        async for request in self._questions:
            scope = self._open.get(request.request_id)
            if scope is None:
                continue
            with scope:
                answer = await self._read_answer(request)
                if answer is None:
                    self._screen.note(
                        "nobody is here to answer; the turn waits. Answer it with: "
                        f"september chat --task {task_id}"
                    )
                    turn_scope.cancel()
                    return
                await self._respond(request, answer)

    async def _read_answer(self, request: HitlRequest) -> str | None:
        """A valid answer; None when standard input has ended."""
        permission = request.kind == "permission"
        while True:
            self._screen.note("yes or no?" if permission else "your answer:")
            line = await self._keyboard.read()
            if line is None:
                return None
            answer = line.strip()
            if permission:
                answer = _YES_NO.get(answer.lower(), "")
            if answer:
                return _chosen(request, answer)

    async def _respond(self, request: HitlRequest, answer: str) -> None:
        """Send the answer, again if the Engine is away for a moment."""
        backoff = Backoff()
        while True:
            try:
                return await self._client.respond(request.task_id, request.request_id, answer)
            except EngineUnreachable as error:
                if not await backoff.wait():
                    return self._screen.note(error.message)
            except SeptemberError as error:
                return self._screen.note(error.message)

    async def _heed_interrupts(
        self,
        task_id: str,
        turn_scope: trio.CancelScope,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Cancel the turn at the first Ctrl-C, leave at the second."""
        with trio.open_signal_receiver(signal.SIGINT) as interrupts:
            task_status.started()
            async with trio.open_nursery() as nursery:
                await anext(interrupts)
                self._screen.note("cancelling the turn; Ctrl-C again leaves")
                nursery.start_soon(self._cancel, task_id)
                await anext(interrupts)
                turn_scope.cancel()

    async def _cancel(self, task_id: str) -> None:
        try:
            await self._client.cancel(task_id)
        except SeptemberError as error:
            self._screen.note(error.message)


def _chosen(request: HitlRequest, answer: str) -> str:
    """The option that a bare number names, or the answer as it was typed."""
    options = request.options if isinstance(request.options, list) else []
    if answer.isdecimal() and 1 <= int(answer) <= len(options):
        return options[int(answer) - 1]
    return answer
