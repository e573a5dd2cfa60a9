"""Skills: the catalog's and the user's own (contract, section 12)."""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct

from ...brain.catalog import Skill
from ...brain.catalog.skills import Capabilities, Line, Scripts, SkillName, Text
from ...errors import SeptemberError
from ..endpoint import Endpoint, Exchange, Json, Nothing
from ..skill_port import SkillInfo, SkillView
from ..wire import Input

_PLACES = "A name in double braces, or name|default, stands for a parameter of a run"


class CreateBody(Input, frozen=True, kw_only=True):
    """A new skill: a prompt, scripts, or both."""

    human: ClassVar[tuple[str, ...]] = ("description", "prompt")

    name: SkillName
    description: Annotated[
        Line | None,
        Meta(description="When to use it: the agent chooses by this; else the prompt's first line"),
    ] = None
    category: Line = "general"
    prompt: Annotated[Text, Meta(description=_PLACES)] = ""
    capabilities: Capabilities = ()
    scripts: Annotated[
        Scripts, Meta(description="Texts by file name; a name ends in .py, .sh or .js, or #! says")
    ] = msgspec.field(default_factory=dict[str, str])


class ChangeBody(Input, frozen=True, kw_only=True):
    """What to change. `name` may be sent, but not another one."""

    human: ClassVar[tuple[str, ...]] = ("description", "prompt")

    name: SkillName | None = None
    description: Line | None = None
    category: Line | None = None
    prompt: Annotated[Text | None, Meta(description=_PLACES)] = None
    capabilities: Capabilities | None = None
    scripts: Scripts | None = None


class Deleted(Struct, frozen=True, kw_only=True):
    """The skill is gone."""

    name: str
    status: Literal["deleted"] = "deleted"


async def skills(exchange: Exchange[Nothing]) -> Json:
    """List the skills."""
    return Json(await exchange.engine.skills.skills())


async def skill(exchange: Exchange[Nothing]) -> Json:
    """One skill."""
    return Json(await exchange.engine.skills.skill(exchange.path["name"]))


async def create(exchange: Exchange[CreateBody]) -> Json:
    """Make a skill."""
    body = exchange.input
    made = Skill(
        name=body.name,
        description=body.description or _first_line(body.prompt) or body.name,
        category=body.category,
        prompt=body.prompt,
        capabilities=body.capabilities,
        scripts=body.scripts,
    )
    return Json(await exchange.engine.skills.create(made))


def _first_line(prompt: str) -> str:
    lines = (line.strip("# ").strip() for line in prompt.splitlines())
    return next(filter(None, lines), "")[:200]


async def change(exchange: Exchange[ChangeBody]) -> Json:
    """Change a skill."""
    given, name = msgspec.structs.asdict(exchange.input), exchange.path["name"]
    if given.pop("name") not in (None, name):
        raise SeptemberError(
            "INVALID_REQUEST",
            "name: a skill cannot be renamed; make another and delete this one",
            {"field": "name"},
        )
    changes = {field: value for field, value in given.items() if value is not None}
    return Json(await exchange.engine.skills.update(name, changes))


async def delete(exchange: Exchange[Nothing]) -> Json:
    """Remove a skill."""
    name = exchange.path["name"]
    await exchange.engine.skills.delete(name)
    return Json(Deleted(name=name))


_SAMPLE = {
    "name": "release-notes",
    "description": "Turns commits into notes for users.",
    "category": "writing",
    "prompt": "Write release notes for users from these commits.",
}

ENDPOINTS = (
    Endpoint(
        "GET",
        "/skills",
        "List the skills: those of the platform and your own.",
        skills,
        Nothing,
        answers=tuple[SkillInfo, ...],
    ),
    Endpoint(
        "POST",
        "/skills/create",
        "Make a skill of your own.",
        create,
        CreateBody,
        answers=SkillView,
        refusals=("SKILL_EXISTS",),
        sample=_SAMPLE,
    ),
    Endpoint(
        "GET",
        "/skills/{name}",
        "One skill: its prompt, its scripts.",
        skill,
        Nothing,
        answers=SkillView,
        refusals=("NOT_FOUND",),
    ),
    Endpoint(
        "PUT",
        "/skills/{name}",
        "Change fields of a skill of your own.",
        change,
        ChangeBody,
        answers=SkillView,
        refusals=("NOT_FOUND", "PERMISSION_DENIED"),
        sample={"description": "Turns commits into notes that users understand."},
    ),
    Endpoint(
        "DELETE",
        "/skills/{name}",
        "Remove a skill of your own.",
        delete,
        Nothing,
        answers=Deleted,
        refusals=("NOT_FOUND", "PERMISSION_DENIED"),
    ),
)
