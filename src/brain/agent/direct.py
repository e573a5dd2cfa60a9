"""Direct calls: a tool or a skill by name, outside of a turn, under the same rules of permission.

There is nobody to ask meanwhile: what a person would be asked about is refused.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from functools import partial

import trio

from ...actors import work_span
from ...errors import STATUS, SchemaViolation, SeptemberError
from ..catalog import Catalog
from ..channels.events import Event, JsonObject
from ..clock import new_id
from ..herald.conversation import ToolDef
from ..hitl import Answer, Kind
from ..skills import shelf
from .job import folder_of
from .offer import every_tool
from .permissions import Allow, decide
from .skills.run import skill_tool
from .spans import ToolSpan
from .tools import Tool, ToolContext, ToolOutput
from .validation import problems
from .workshop import Workshop


async def call_tool(
    workshop: Workshop, catalog: Catalog, name: str, arguments: JsonObject, task_id: str
) -> ToolOutput:
    """Run a tool. Raises NOT_FOUND, PERMISSION_DENIED, and what connectors and models raise."""
    tools = await every_tool(workshop, catalog)
    if name not in tools:
        raise _unknown(name, tools)
    return await _called(workshop, tools[name], arguments, task_id)


async def call_skill(
    workshop: Workshop, catalog: Catalog, name: str, arguments: JsonObject, task_id: str
) -> ToolOutput:
    """Run a skill by itself. Raises INVALID_REQUEST naming a parameter, and what tools raise."""
    find = partial(shelf.found, platform=catalog.skills, name=name)
    skill = await workshop.database.read(find)
    definition = ToolDef(f"skill.{name}", skill.description, {"type": "object"})
    return await _called(workshop, skill_tool(workshop, skill, definition), arguments, task_id)


async def _called(
    workshop: Workshop, tool: Tool, arguments: JsonObject, task_id: str
) -> ToolOutput:
    name, call_id = tool.definition.name, new_id("rpc")
    payload = ToolSpan(task_id, call_id, call_id, name, arguments)
    with work_span(f"execute_tool {name}", payload) as span:
        wrong = problems(tool.definition, arguments)
        if wrong:
            raise _unfit(wrong)
        context = _context(workshop, task_id, call_id)
        await _permit(tool, arguments, context)
        output = await tool.run(arguments, context)
        if output.error is not None:
            span.outcome, span.detail = output.error, output.text
    text = workshop.scrubber.scrub(output.text)
    if output.error == "invalid_input":
        raise _unfit(text)
    if output.error is not None and output.error.upper() in STATUS:
        raise SeptemberError(output.error.upper(), text)
    return ToolOutput(text, output.error, output.truncated)


async def _permit(tool: Tool, arguments: JsonObject, context: ToolContext) -> None:
    decision = await trio.to_thread.run_sync(
        decide, tool, arguments, context.roots, context.workspace
    )
    if not isinstance(decision, Allow):
        raise SeptemberError(
            "PERMISSION_DENIED",
            f"{tool.definition.name} needs a person's permission: {decision.reason}; nobody is"
            " asked in a direct call: run it in a turn with POST /execute",
            {"tool": tool.definition.name, "reason": decision.reason},
        )


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
