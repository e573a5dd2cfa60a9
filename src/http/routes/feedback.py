"""What people think of the answers: signals for the Learning Centre (contract, 19.13)."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from ...logs import note_task
from ..endpoint import Endpoint, Exchange, Json
from ..port import Feedback
from ..wire import Input
from .execute import TaskId


class FeedbackBody(Input, frozen=True, kw_only=True):
    """A verdict on a turn or on a task."""

    human: ClassVar[tuple[str, ...]] = ("signal", "comment")

    task_id: TaskId
    signal: Annotated[str, Meta(pattern=r"\S", description='"up", "down" or a text')]
    turn_id: Annotated[str | None, Meta(description="The turn meant; default: the task")] = None
    comment: Annotated[str | None, Meta(description="Why")] = None


class Recorded(Struct, frozen=True, kw_only=True):
    """The feedback is kept."""

    status: Literal["recorded"] = "recorded"


async def feedback(exchange: Exchange[FeedbackBody]) -> Json:
    """Keep a verdict."""
    body = exchange.input
    note_task(body.task_id)
    await exchange.engine.feedback(
        Feedback(
            task_id=body.task_id, signal=body.signal, turn_id=body.turn_id, comment=body.comment
        )
    )
    return Json(Recorded())


ENDPOINTS = (
    Endpoint(
        "POST",
        "/feedback",
        "Say whether an answer was good; the Learning Centre learns from it.",
        feedback,
        FeedbackBody,
        answers=Recorded,
        refusals=("TASK_NOT_FOUND",),
        sample={"task_id": "demo", "signal": "up"},
    ),
)
