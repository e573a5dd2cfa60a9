"""Direct calls: a tool or a skill by name, outside of a turn, under the same rules of permission.

There is nobody to ask meanwhile: what a person would be asked about is refused.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TypeAlias, assert_never

import trio
from msgspec.structs import replace

from ...actors import Actor, Later, Message, Reply, work_span
from ...errors import STATUS, SchemaViolation, SeptemberError
from ...logs import get_logger
from ..catalog import Catalog
from ..channels.events import Event, JsonObject
from ..clock import new_id
from ..herald.conversation import ToolDef
from ..hitl import Answer, Kind
from ..skills import shelf
from ..store.connection import Connection
from . import permits
from .job import folder_of
from .offer import every_tool
from .permissions import Allow, Ask, Decision, Ground, decide
from .permits import Judgement, Outcome
from .skills.run import skill_tool
from .spans import ToolSpan
from .tools import Tool, ToolContext, ToolOutput
from .validation import problems
from .workshop import Workshop

_log = get_logger("september.direct")


@dataclass(frozen=True, slots=True)
class CallTool(Message["ToolOutput | SeptemberError"]):
    """Run the tool `name` in a task's workspace, under the names of `catalog`.

    Refused with NOT_FOUND, INVALID_REQUEST or PERMISSION_DENIED, and with what connectors and
    models refuse with.
    """

    name: str
    arguments: JsonObject
    task_id: str
    catalog: Catalog = field(repr=False)


@dataclass(frozen=True, slots=True)
class CallSkill(Message["ToolOutput | SeptemberError"]):
    """Run the skill `name` by itself, as CallTool runs a tool."""

    name: str
    arguments: JsonObject
    task_id: str
    catalog: Catalog = field(repr=False)


DirectMessage: TypeAlias = CallTool | CallSkill


class DirectCalls(Actor[DirectMessage]):
    """Makes direct calls, any number at a time; a caller that leaves ends its call."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop

    async def handle(self, msg: DirectMessage) -> Reply | Later:
        await trio.lowlevel.checkpoint()
        match msg:
            case CallTool():
                return msg.reply_after(partial(_answered, self._workshop, msg, _tool))
            case CallSkill():
                return msg.reply_after(partial(_answered, self._workshop, msg, _skill))
            case _:
                assert_never(msg)


async def _answered(
    workshop: Workshop,
    msg: DirectMessage,
    find: Callable[[Workshop, DirectMessage], Awaitable[Tool]],
) -> ToolOutput | SeptemberError:
    try:
        return await _called(workshop, await find(workshop, msg), msg)
    except SeptemberError as refusal:
        return refusal


async def _tool(workshop: Workshop, msg: DirectMessage) -> Tool:
    tools = await every_tool(workshop, msg.catalog)
    if msg.name not in tools:
        raise _unknown(msg.name, tools)
    return tools[msg.name]


async def _skill(workshop: Workshop, msg: DirectMessage) -> Tool:
    find = partial(shelf.found, platform=msg.catalog.skills, name=msg.name)
    skill = await workshop.database.read(find)
    definition = ToolDef(f"skill.{skill.name}", skill.description, {"type": "object"})
    return skill_tool(workshop, skill, definition)


async def _called(workshop: Workshop, tool: Tool, msg: DirectMessage) -> ToolOutput:
    name, call_id = tool.definition.name, new_id("rpc")
    payload = ToolSpan(msg.task_id, call_id, call_id, name, msg.arguments)
    with work_span(f"execute_tool {name}", payload) as span:
        wrong = problems(tool.definition, msg.arguments)
        if wrong:
            raise _unfit(wrong)
        context = _context(workshop, msg.task_id, call_id)
        grants = await _permitted(workshop, tool, msg.arguments, context)
        context = replace(context, roots=(*context.roots, *grants))
        output = await _run(tool, msg.arguments, context)
        text = workshop.scrubber.scrub(output.text)
        if output.error is not None:
            span.outcome, span.detail = output.error, text
        if output.error == "invalid_input":
            raise _unfit(text)
        if output.error is not None and output.error.upper() in STATUS:
            raise SeptemberError(output.error.upper(), text)
    return ToolOutput(text, output.error, output.truncated)


async def _run(tool: Tool, arguments: JsonObject, context: ToolContext) -> ToolOutput:
    """Run it; a bug in it is its answer, not the end of the calls beside it."""
    try:
        return await tool.run(arguments, context)
    except SeptemberError:
        raise
    except Exception as error:
        _log.exception("tool crashed", tool=tool.definition.name)
        return ToolOutput(f"the tool failed: {type(error).__name__}", "tool_crashed")


async def _permitted(
    workshop: Workshop, tool: Tool, arguments: JsonObject, context: ToolContext
) -> tuple[Path, ...]:
    """The further roots that the call may use; the decision is kept. Raises PERMISSION_DENIED."""
    ground = Ground(context.roots, context.workspace, workshop.policy)
    decision = await trio.to_thread.run_sync(decide, tool, arguments, ground)
    name = tool.definition.name
    reason = "" if isinstance(decision, Allow) else workshop.scrubber.scrub(decision.reason)
    judge = partial(_judged, tool=name, context=context, decision=decision, reason=reason)
    outcome = await workshop.database.write(judge)
    if outcome == "denied":
        raise SeptemberError(
            "PERMISSION_DENIED",
            f"{name} needs a person's permission: {reason}; nobody is asked in a direct call:"
            " run it in a turn with POST /execute",
            {"tool": name, "reason": reason},
        )
    return decision.grants if isinstance(decision, Ask) else ()


def _judged(
    connection: Connection, tool: str, context: ToolContext, decision: Decision, reason: str
) -> Outcome:
    """Whether the rules, or a yes that a person once gave for good, let the call through."""
    outcome: Outcome = "allowed" if isinstance(decision, Allow) else "denied"
    if isinstance(decision, Ask) and decision.subject:
        if permits.stands(connection, tool, decision.subject, context.task_id):
            outcome = "remembered"
    judgement = Judgement(
        task_id=context.task_id,
        turn_id=context.turn_id,
        tool_call_id=context.tool_call_id,
        tool=tool,
        outcome=outcome,
        concern=decision.concern if isinstance(decision, Ask) else None,
        reason=reason,
    )
    permits.note(connection, judgement)
    return outcome


def _context(workshop: Workshop, task_id: str, call_id: str) -> ToolContext:
    workspace = workshop.workspaces / folder_of(task_id)
    return ToolContext(
        task_id=task_id,
        turn_id=call_id,
        tool_call_id=call_id,
        workspace=workspace,
        roots=(workspace, *workshop.roots),
        database=workshop.database,
        sandbox=workshop.sandbox,
        emit=_untold,
        ask=_unasked,
        scrub=workshop.scrubber.scrub,
    )


async def _untold(event: Event) -> None:
    """Nobody listens to the events of a direct call."""
    await trio.lowlevel.checkpoint()


async def _unasked(
    tool_call_id: str, kind: Kind, question: str, *, options: tuple[str, ...] = ()
) -> Answer:
    """Nobody answers either."""
    await trio.lowlevel.checkpoint()
    return Answer("cancel")


def _unfit(problem: str) -> SchemaViolation:
    return SchemaViolation(f"params: {problem}", {"field": "params"})


def _unknown(name: str, known: Iterable[str]) -> SeptemberError:
    close = get_close_matches(name, known, 1)
    hint = f"did you mean 'tool.{close[0]}'?" if close else f"known are {', '.join(sorted(known))}"
    return SeptemberError(
        "NOT_FOUND", f"method: there is no tool {name[:80]!r}; {hint}", {"field": "method"}
    )
