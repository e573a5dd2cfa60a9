"""Learning: run a pass now, see how it stands, take one back (contract, 19.13)."""

from typing import Annotated

from msgspec import Meta

from ..endpoint import Endpoint, Exchange, Json, Nothing
from ..learning_port import LearningPass, LearningRun, LearningStatus
from ..wire import Input


class RunBody(Input, frozen=True, kw_only=True):
    """What to learn from."""

    task_id: Annotated[str | None, Meta(description="Only this task; default: all that wait")] = (
        None
    )


async def run(exchange: Exchange[RunBody]) -> Json:
    """Learn now, however busy the tasks are."""
    return Json(await exchange.engine.learning.run(exchange.input.task_id))


async def status(exchange: Exchange[Nothing]) -> Json:
    """How learning stands."""
    return Json(await exchange.engine.learning.status())


async def undo(exchange: Exchange[Nothing]) -> Json:
    """Take a pass back."""
    return Json(await exchange.engine.learning.undo(exchange.path["pass_id"]))


ENDPOINTS = (
    Endpoint(
        "POST",
        "/learning/run",
        "Learn now from finished turns and feedback; answered when the passes have ended.",
        run,
        RunBody,
        answers=LearningRun,
        refusals=("TASK_NOT_FOUND",),
        sample={"task_id": "demo"},
    ),
    Endpoint(
        "GET",
        "/learning/status",
        "What waits to be learned from, when the next pass is due, and the last passes.",
        status,
        Nothing,
        answers=LearningStatus,
    ),
    Endpoint(
        "POST",
        "/learning/passes/{pass_id}/undo",
        "Take a pass back: what it wrote is forgotten, what it closed holds again.",
        undo,
        Nothing,
        answers=LearningPass,
        refusals=("NOT_FOUND", "TASK_BUSY"),
    ),
)
