"""The catalog's tool definitions as tools: a platform tool, a skill or an action behind each."""

from collections.abc import Mapping
from functools import partial

from msgspec.structs import replace

from ..assets.actions import Action
from ..catalog import Catalog, CatalogTool, McpRef
from ..channels.events import JsonObject
from ..herald.conversation import ToolDef
from .connectors import action_tool
from .skills.run import skill_tool
from .tools import Tool, ToolContext, ToolOutput
from .validation import problems
from .workshop import Workshop


def defined_tools(
    workshop: Workshop, catalog: Catalog, actions: Mapping[str, Action]
) -> dict[str, Tool]:
    """Every tool of the catalog by name; `actions` are what connected servers offer, by full name.

    The catalog has been checked: what its tools name is there.
    """
    found: dict[str, Tool] = {}
    for name, one in catalog.tools.items():
        tool = _tool(workshop, catalog, one, actions)
        found[name] = replace(
            tool,
            requires_permission=tool.requires_permission or one.requires_permission,
            high_cost=tool.high_cost or one.high_cost,
        )
    return found


def _tool(
    workshop: Workshop, catalog: Catalog, defined: CatalogTool, actions: Mapping[str, Action]
) -> Tool:
    definition = ToolDef(defined.name, defined.description, defined.input_schema)
    ref = defined.implementation.ref
    if isinstance(ref, McpRef):
        return _renamed(action_tool(workshop, _action(ref, actions)), definition)
    if defined.implementation.kind == "skill":
        return skill_tool(workshop, catalog.skills[ref], definition)
    return _renamed(workshop.toolbox[ref], definition)


def _action(ref: McpRef, actions: Mapping[str, Action]) -> Action:
    """The action as its server offers it; one that is not connected says so when it is called."""
    blank = Action(server=ref.server, name=ref.action, description="", input_schema={})
    return actions.get(blank.full_name, blank)


def _renamed(behind: Tool, definition: ToolDef) -> Tool:
    """Another name and schema for a tool; its own schema and its rules stay in force."""

    async def run(arguments: JsonObject, context: ToolContext) -> ToolOutput:
        wrong = problems(behind.definition, arguments)
        if wrong:
            return ToolOutput(wrong, "invalid_input")
        return await behind.run(arguments, context)

    judged_as = behind.judged_as or partial(_as_itself, behind.definition.name)
    return replace(behind, definition=definition, run=run, judged_as=judged_as)


def _as_itself(name: str, arguments: JsonObject) -> tuple[str, JsonObject]:
    return name, arguments
