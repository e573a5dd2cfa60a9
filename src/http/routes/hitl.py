"""Human in the loop: what waits for a person, and the answer (contract, 8 and 19.1)."""

from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from ...brain.channels.events import HitlRequest
from ...brain.herald.conversation import MediaBlock
from ...errors import SeptemberError
from ...logs import note_task
from ..body import check_size
from ..endpoint import Endpoint, Exchange, Json, Nothing
from ..port import HitlAnswer, HitlResumed
from ..wire import Input


class RespondBody(Input, frozen=True, kw_only=True):
    """An answer; the task or the request says to what."""

    human: ClassVar[tuple[str, ...]] = ("answer", "feedback")

    answer: Annotated[
        str, Meta(pattern=r"\S", description='"yes" or "no" for a permission, text for a question')
    ]
    task_id: Annotated[str | None, Meta(description="The task that waits")] = None
    request_id: Annotated[
        str | None, Meta(description="The request answered; must be the pending one")
    ] = None
    feedback: Annotated[str | None, Meta(description="A word to the agent with the answer")] = None
    content_blocks: Annotated[
        tuple[MediaBlock, ...],
        Meta(description="Media with the answer to a question or a plan (docs/media.md)"),
    ] = ()


class PendingList(Struct, frozen=True, kw_only=True):
    """Everything that waits, oldest first."""

    pending: tuple[HitlRequest, ...]


async def respond(exchange: Exchange[RespondBody]) -> Json:
    """Answer what a task waits for."""
    body = exchange.input
    note_task(body.task_id)
    limit = exchange.service.settings.max_body_bytes
    check_size(exchange.visit.body, body.content_blocks, limit)
    if not body.task_id and not body.request_id:
        raise SeptemberError(
            "INVALID_REQUEST",
            "task_id: required field is missing; send it, or the request_id of the question",
            {"field": "task_id"},
        )
    answer = HitlAnswer(
        task_id=body.task_id or None,
        request_id=body.request_id or None,
        answer=body.answer,
        feedback=body.feedback,
        media=body.content_blocks,
    )
    return Json(await exchange.engine.respond(answer))


async def pending(exchange: Exchange[Nothing]) -> Json:
    """List what waits."""
    return Json(PendingList(pending=tuple(await exchange.engine.pending())))


ENDPOINTS = (
    Endpoint(
        "POST",
        "/hitl/respond",
        "Answer a question or permission prompt; the turn goes on at once.",
        respond,
        RespondBody,
        answers=HitlResumed,
        refusals=("TASK_NOT_FOUND", "HITL_MISMATCH"),
        sample={"task_id": "demo", "answer": "yes"},
    ),
    Endpoint(
        "GET",
        "/hitl/pending",
        "List everything that waits for a person, across all tasks.",
        pending,
        Nothing,
        answers=PendingList,
    ),
)
