"""The Learning Centre's side of the bridge."""

from functools import partial

from ..brain import conversations
from ..brain.clock import iso
from ..brain.learning.centre import GetStanding, Learn, Undo
from ..brain.learning.passes import Pass
from ..brain.tree import Engine
from ..errors import SeptemberError
from .learning_port import (
    LearningPass,
    LearningRun,
    LearningStatus,
    RecallCheck,
    WaitingTask,
)


class LearningBridge:
    """Implements `LearningPort` for a running Engine."""

    def __init__(self, engine: Engine) -> None:
        self._centre = engine.learning
        self._database = engine.database

    async def run(self, task_id: str | None) -> LearningRun:
        """Learn now, from one task or from all that wait."""
        if task_id is not None:
            await self._database.read(partial(conversations.check_known, task_id=task_id))
        done = await self._centre.call(Learn(task_id))
        return LearningRun(passes=[_shown(one) for one in done])

    async def status(self) -> LearningStatus:
        """How learning stands."""
        standing = await self._centre.call(GetStanding())
        next_at = standing.next_at
        return LearningStatus(
            running=any(one.status == "running" for one in standing.passes),
            waiting=[
                WaitingTask(task_id=one.task_id, items=one.items, due_at=iso(one.due))
                for one in standing.waiting
            ],
            next_pass_at=iso(next_at) if next_at is not None else None,
            passes=[_shown(one) for one in standing.passes],
        )

    async def undo(self, pass_id: str) -> LearningPass:
        """Take a pass back."""
        answer = await self._centre.call(Undo(pass_id))
        if isinstance(answer, SeptemberError):
            raise answer
        return _shown(answer)


def _shown(one: Pass) -> LearningPass:
    recall = one.report.recall
    return LearningPass(
        pass_id=one.pass_id,
        task_id=one.task_id,
        status=one.status,
        extractor=one.extractor,
        counts=one.report.counts,
        steps=one.steps,
        applied=one.applied,
        recall=RecallCheck(questions=recall.questions, before=recall.before, after=recall.after)
        if recall is not None
        else None,
        reason=one.report.reason,
        trace_id=one.trace_id,
        started_at=iso(one.started_at),
        ended_at=iso(one.ended_at) if one.ended_at is not None else None,
    )
