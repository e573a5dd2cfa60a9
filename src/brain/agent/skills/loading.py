"""The agent's way to skills: a tool that loads one, prompt and scripts."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Final

from ...catalog import Skill
from ...channels.events import JsonObject
from ...herald.conversation import ToolDef
from ...skills import shelf
from ...skills.prompt import parameters
from ..tools import Tool, ToolContext, ToolOutput
from ..workshop import Workshop
from .run import Script, place_scripts

NAME: Final = "skill"
_LISTED: Final = 60
"""Skills that the tool's description lists; what is beyond can still be loaded by name."""


async def loader(
    workshop: Workshop, platform: Mapping[str, Skill], allowed: Sequence[str]
) -> Tool | None:
    """The tool for the skills whose names fit a pattern of `allowed`; None if there are none."""
    if not allowed:
        return None
    found = await workshop.database.read(partial(shelf.shelved, platform=platform))
    skills = {
        one.skill.name: one.skill
        for one in found
        if any(fnmatchcase(one.skill.name, pattern) for pattern in allowed)
    }
    return Tool(_definition(skills), partial(_load, skills)) if skills else None


def _definition(skills: Mapping[str, Skill]) -> ToolDef:
    lines = [f"- {one.name}: {one.description}" for one in list(skills.values())[:_LISTED]]
    text = (
        "Load a skill: instructions for a kind of work, sometimes with scripts. Load it before you"
        " begin such work, then follow it.\n" + "\n".join(lines)
    )
    schema: JsonObject = {
        "type": "object",
        "properties": {"name": {"type": "string", "enum": list(skills)}},
        "required": ["name"],
        "additionalProperties": False,
    }
    return ToolDef(NAME, text, schema)


async def _load(
    skills: Mapping[str, Skill], arguments: JsonObject, context: ToolContext
) -> ToolOutput:
    skill = skills[str(arguments["name"])]
    scripts = await place_scripts(skill, context.workspace)
    parts = (
        f"# {skill.name}",
        _good_for(skill),
        skill.prompt.strip(),
        _parameters(skill),
        _scripts(skill, scripts),
    )
    return ToolOutput("\n\n".join(filter(None, parts)))


def _good_for(skill: Skill) -> str:
    return f"Capabilities: {', '.join(skill.capabilities)}" if skill.capabilities else ""


def _parameters(skill: Skill) -> str:
    """The placeholders stay in the prompt: the agent knows the task and fills them in."""
    known = parameters(skill.prompt)
    lines = [f"- {name}: {default or 'take it from the task'}" for name, default in known.items()]
    return "\n".join(("Where it says {{…}}, put in:", *lines)) if lines else ""


def _scripts(skill: Skill, scripts: Sequence[Script]) -> str:
    lines = [f"- {one.command(skill)}" for one in scripts]
    return "\n".join(("Scripts, in the workspace; run them with bash:", *lines)) if lines else ""
