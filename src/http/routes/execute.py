"""Running a turn, reading its events again, and cancelling it (contract, 4, 19.2 to 19.5)."""

from functools import partial
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from ...brain.channels.events import JsonObject
from ...brain.herald.conversation import MediaBlock
from ...logs import note_task
from ..body import check_size
from ..endpoint import Endpoint, Events, Exchange, Json
from ..port import CancelResult, ExecuteRequest, OnBusy, ReplayRequest
from ..wire import Input, event_id

TaskId = Annotated[str, Meta(min_length=1, max_length=512, description="The thread's id")]


class TurnContext(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the turn is given beside its message."""

    files: Annotated[
        dict[str, str],
        Meta(description="Relative path to text; written below the task's workspace first"),
    ] = {}


class ExecuteBody(Input, frozen=True, kw_only=True):
    """One turn to run."""

    human: ClassVar[tuple[str, ...]] = ("message",)

    message: Annotated[str, Meta(pattern=r"\S", description="What the user says")]
    task_id: TaskId
    media: Annotated[
        tuple[MediaBlock, ...],
        Meta(description="Attached images, PDF documents, audio and video (docs/media.md)"),
    ] = ()
    direct: Annotated[bool, Meta(description="Skip planning")] = False
    edit_message_id: Annotated[
        str | None,
        Meta(description="Replace this earlier message and forget what came after it"),
    ] = None
    retry_message_id: Annotated[
        str | None, Meta(description="Run again from this message; all messages are kept")
    ] = None
    agent: Annotated[str, Meta(min_length=1, description="An agent of the catalog")] = "assistant"
    super_thinking: Annotated[bool, Meta(description="Let the model think longer")] = False
    response_schema: Annotated[
        JsonObject | None, Meta(description="JSON Schema that the answer must follow")
    ] = None
    context: TurnContext = TurnContext()
    on_busy: Annotated[OnBusy, Meta(description="What to do when the task already runs a turn")] = (
        "reject"
    )


class ReplayQuery(Input, frozen=True, kw_only=True):
    """Which events to read again."""

    task_id: Annotated[str | None, Meta(description="Only this task's; default: all tasks")] = None
    after: Annotated[
        int, Meta(ge=0, description="Later than this time, in ms since 1970; 0: all buffered")
    ] = 0
    after_id: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="With ids above this one; wins over `after`"),
    ] = None
    follow: Annotated[
        bool, Meta(description="Go on with live events until the running turn ends")
    ] = True


class CancelBody(Input, frozen=True, kw_only=True):
    """Which task to cancel."""

    task_id: TaskId


async def execute(exchange: Exchange[ExecuteBody]) -> Events:
    """Run a turn and stream it."""
    body, visit = exchange.input, exchange.visit
    note_task(body.task_id)
    check_size(visit.body, body.media, exchange.service.settings.max_body_bytes)
    request = ExecuteRequest(
        task_id=body.task_id,
        message=body.message,
        media=body.media,
        direct=body.direct,
        edit_message_id=body.edit_message_id,
        retry_message_id=body.retry_message_id,
        agent=body.agent,
        super_thinking=body.super_thinking,
        response_schema=body.response_schema,
        context_files=body.context.files,
        on_busy=body.on_busy,
        idempotency_key=visit.headers.get("idempotency-key") or None,
        last_event_id=event_id(visit.headers.get("last-event-id")),
        traceparent=visit.traceparent,
    )
    return Events(partial(exchange.engine.start, request))


async def replay(exchange: Exchange[ReplayQuery]) -> Events:
    """Stream events again."""
    query = exchange.input
    note_task(query.task_id)
    last = event_id(exchange.visit.headers.get("last-event-id"))
    after_id = last if last is not None else query.after_id
    request = ReplayRequest(
        task_id=query.task_id,
        after_ms=query.after if after_id is None else 0,
        after_id=after_id,
        follow=query.follow,
    )
    return Events(partial(exchange.engine.replay, request))


async def cancel(exchange: Exchange[CancelBody]) -> Json:
    """End the running turn."""
    task_id = exchange.input.task_id
    note_task(task_id)
    return Json(await exchange.engine.cancel(task_id))


ENDPOINTS = (
    Endpoint(
        "POST",
        "/execute",
        "Run one agent turn and stream its events. If the client leaves, the turn goes on.",
        execute,
        ExecuteBody,
        streams=True,
        refusals=(
            "AGENT_NOT_FOUND",
            "TASK_NOT_FOUND",
            "TASK_BUSY",
            "HITL_REQUIRED",
            "SLOTS_EXHAUSTED",
            "DRAINING",
        ),
        headers={
            "Idempotency-Key": "A turn begun with this key before is attached to, not run again",
            "Last-Event-ID": "When attaching: only events after this id",
        },
        sample={"task_id": "demo", "message": "Hello"},
    ),
    Endpoint(
        "GET",
        "/execute/replay",
        "Read buffered events again, with their ids, and follow the running turn.",
        replay,
        ReplayQuery,
        streams=True,
        headers={"Last-Event-ID": "The last id received; wins over `after` and `after_id`"},
        sample={"task_id": "demo", "after": 0},
    ),
    Endpoint(
        "POST",
        "/execute/cancel",
        "End the task's running turn; its stream closes with phase cancelled.",
        cancel,
        CancelBody,
        answers=CancelResult,
        sample={"task_id": "demo"},
    ),
)
