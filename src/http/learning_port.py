"""What HTTP needs of an Engine's Learning Centre: answers as structs, and one protocol."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Protocol

from msgspec import Meta, Struct


class RecallCheck(Struct, frozen=True, kw_only=True):
    """How many of a pass's sample questions memory answered, before it and after it."""

    questions: int
    before: int
    after: int


class LearningPass(Struct, frozen=True, kw_only=True):
    """One pass over one task. `reason` says why it failed or was rolled back."""

    pass_id: str
    task_id: str
    status: Literal["running", "done", "failed", "rolled_back"]
    extractor: Annotated[str, Meta(description='The model that extracted, or "rules"')]
    counts: Annotated[Mapping[str, int], Meta(description="What was taken up and written")]
    steps: Annotated[int, Meta(description="Turns and signals that the pass takes up")]
    applied: Annotated[int, Meta(description="Those of them that are written to memory")]
    recall: RecallCheck | None
    reason: str | None
    trace_id: str
    started_at: str
    ended_at: str | None


class LearningRun(Struct, frozen=True, kw_only=True):
    """What was learned now; empty when nothing waited."""

    passes: Sequence[LearningPass]


class WaitingTask(Struct, frozen=True, kw_only=True):
    """A task with turns or feedback not learned from yet, and when its pass may begin."""

    task_id: str
    items: int
    due_at: str


class LearningStatus(Struct, frozen=True, kw_only=True):
    """How learning stands. `passes` are the last ones, newest first."""

    running: bool
    waiting: Sequence[WaitingTask]
    next_pass_at: str | None
    passes: Sequence[LearningPass]


class LearningPort(Protocol):
    """An Engine's Learning Centre, as the routes see it. Methods may raise SeptemberError."""

    async def run(self, task_id: str | None) -> LearningRun:
        """Learn now, from one task or from all that wait."""
        ...

    async def status(self) -> LearningStatus:
        """How learning stands."""
        ...

    async def undo(self, pass_id: str) -> LearningPass:
        """Take a pass back."""
        ...
