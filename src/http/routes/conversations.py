"""Past and present conversations: a list, one with its transcript, and forgetting one."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from ...logs import note_task
from ..endpoint import Endpoint, Exchange, Json, Nothing
from ..port import Conversation, ConversationPage, MediaContent
from ..wire import Input


class PageQuery(Input, frozen=True, kw_only=True):
    """Which page of the list."""

    limit: Annotated[int, Meta(ge=1, le=100, description="Conversations on a page")] = 20
    before: Annotated[str | None, Meta(description="`next_before` of the page before")] = None


class Forgotten(Struct, frozen=True, kw_only=True):
    """The conversation is gone."""

    task_id: str
    status: Literal["deleted"] = "deleted"


async def listing(exchange: Exchange[PageQuery]) -> Json:
    """A page of conversations."""
    query = exchange.input
    return Json(await exchange.engine.conversations(query.limit, query.before))


async def transcript(exchange: Exchange[Nothing]) -> Json:
    """One conversation."""
    task_id = exchange.path["task_id"]
    note_task(task_id)
    return Json(await exchange.engine.conversation(task_id))


async def forget(exchange: Exchange[Nothing]) -> Json:
    """Delete a conversation."""
    task_id = exchange.path["task_id"]
    note_task(task_id)
    await exchange.engine.forget(task_id)
    return Json(Forgotten(task_id=task_id))


async def media(exchange: Exchange[Nothing]) -> Json:
    """One attachment."""
    return Json(await exchange.engine.media(exchange.path["media_id"]))


ENDPOINTS = (
    Endpoint(
        "GET",
        "/media/{media_id}",
        "Read an attachment that a transcript names.",
        media,
        Nothing,
        answers=MediaContent,
        refusals=("NOT_FOUND",),
    ),
    Endpoint(
        "GET",
        "/conversations",
        "List conversations, latest first.",
        listing,
        PageQuery,
        answers=ConversationPage,
    ),
    Endpoint(
        "GET",
        "/conversations/{task_id}",
        "Read a conversation with its transcript.",
        transcript,
        Nothing,
        answers=Conversation,
        refusals=("TASK_NOT_FOUND",),
    ),
    Endpoint(
        "DELETE",
        "/conversations/{task_id}",
        "Delete a conversation and its transcript; memories drawn from it stay.",
        forget,
        Nothing,
        answers=Forgotten,
        refusals=("TASK_NOT_FOUND", "TASK_BUSY"),
    ),
)
