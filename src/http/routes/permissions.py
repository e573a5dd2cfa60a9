"""Answers that are remembered: which stand, how to take one back, and what was decided."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from ..endpoint import Endpoint, Exchange, Json, Nothing
from ..port import PermissionDecision, StandingPermit
from ..wire import Input


class PermitList(Struct, frozen=True, kw_only=True):
    """Every yes that stands, oldest first."""

    permits: tuple[StandingPermit, ...]


class Revoked(Struct, frozen=True, kw_only=True):
    """From now on it is asked about again."""

    permit_id: str
    status: Literal["revoked"] = "revoked"


class DecisionQuery(Input, frozen=True, kw_only=True):
    """Which decisions."""

    task_id: Annotated[str | None, Meta(description="Only those of this task")] = None
    limit: Annotated[int, Meta(ge=1, le=1000, description="At most so many, latest first")] = 100


class DecisionList(Struct, frozen=True, kw_only=True):
    """Decisions on tool calls, latest first."""

    decisions: tuple[PermissionDecision, ...]


async def permits(exchange: Exchange[Nothing]) -> Json:
    """List what stands."""
    return Json(PermitList(permits=tuple(await exchange.engine.permits())))


async def revoke(exchange: Exchange[Nothing]) -> Json:
    """Take a yes back."""
    permit_id = exchange.path["permit_id"]
    await exchange.engine.revoke_permit(permit_id)
    return Json(Revoked(permit_id=permit_id))


async def decisions(exchange: Exchange[DecisionQuery]) -> Json:
    """List what was decided."""
    query = exchange.input
    found = await exchange.engine.decisions(query.task_id, query.limit)
    return Json(DecisionList(decisions=tuple(found)))


ENDPOINTS = (
    Endpoint(
        "GET",
        "/permissions",
        "List the answers to permission prompts that are remembered.",
        permits,
        Nothing,
        answers=PermitList,
    ),
    Endpoint(
        "GET",
        "/permissions/decisions",
        "List what was decided on tool calls, by rule or by a person.",
        decisions,
        DecisionQuery,
        answers=DecisionList,
        sample={"limit": 20},
    ),
    Endpoint(
        "DELETE",
        "/permissions/{permit_id}",
        "Take a remembered answer back; the next such call asks again.",
        revoke,
        Nothing,
        answers=Revoked,
        refusals=("NOT_FOUND",),
    ),
)
