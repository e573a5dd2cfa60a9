"""A turn's way to ask its person: gives its seat up while it waits."""

from typing import Final

import trio
from msgspec.structs import replace

from ...actors import ActorCrashed, ActorRef, work_span
from ..channels.events import Event, JsonObject
from ..hitl import Answer, ApprovalMessage, Ask, Kind
from ..security.secrets import SecretScrubber
from .job import Job
from .spans import WaitSpan

ATTEMPTS: Final = 5
"""Asking again finds the same request, so a crash of Approvals costs the person nothing."""

_OUTCOMES: Final = {"user": "ok", "expiry": "expired", "cancel": "cancelled"}


class Questions:
    """Asks on behalf of one turn; what it asks is shown without the secrets in it."""

    def __init__(
        self, approvals: ActorRef[ApprovalMessage], job: Job, scrubber: SecretScrubber
    ) -> None:
        self._approvals = approvals
        self._job = job
        self._scrub = scrubber.scrub
        self._open = 0

    async def ask(
        self,
        tool_call_id: str,
        kind: Kind,
        question: str,
        *,
        tool: str | None = None,
        arguments: JsonObject | None = None,
        options: tuple[str, ...] = (),
        announce: tuple[Event, ...] = (),
    ) -> Answer:
        """Wait for the person's answer; days, if need be. Safe to repeat for the same call."""
        job = self._job
        question = self._scrub(question)
        options = tuple(map(self._scrub, options))
        if job.nested is not None:
            announce = tuple(replace(event, sub_agent=job.nested.who) for event in announce)
        request = Ask(
            *job.question(tool_call_id), kind, question, tool, arguments, options, announce
        )
        self._leave_seat()
        try:
            wait = WaitSpan(job.task_id, job.turn_id, kind, question)
            with work_span(f"hitl {kind}", wait) as span:
                answer = await self._answered(request)
                span.outcome = _OUTCOMES[answer.by]
        finally:
            self._open -= 1
        await self._take_seat()
        return answer

    async def _answered(self, request: Ask) -> Answer:
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._approvals.call(request)
            except ActorCrashed:
                await trio.lowlevel.checkpoint()
        return await self._approvals.call(request)

    def _leave_seat(self) -> None:
        self._open += 1
        self._job.seat.leave()

    async def _take_seat(self) -> None:
        if not self._open:
            await self._job.seat.take()
