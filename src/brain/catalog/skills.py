"""Skill definitions: a prompt for a kind of work, scripts for it, or both."""

import re
from importlib.resources.abc import Traversable
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct

from . import files

SkillName: TypeAlias = Annotated[
    str, Meta(pattern="^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64, description="lowercase-hyphen")
]
Line: TypeAlias = Annotated[str, Meta(pattern=r"\S", max_length=1024)]
Text: TypeAlias = Annotated[str, Meta(max_length=128 * 1024)]
"""A prompt or a script: at most 128 Ki characters."""

Capabilities: TypeAlias = Annotated[tuple[Line, ...], Meta(max_length=64)]
Scripts: TypeAlias = Annotated[dict[str, Text], Meta(max_length=32)]

INTERPRETERS: Final = {".py": "python3", ".sh": "bash", ".js": "node"}
"""What runs a script that does not say so itself with `#!`."""

_FILE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


class Skill(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A skill. In `prompt` a name in double braces, or name|default, is a parameter of a run.

    `capabilities` say in a few words what it is good for or needs; `scripts` are files by name.
    """

    name: SkillName
    description: Line
    category: Line = "general"
    prompt: Text = ""
    capabilities: Capabilities = ()
    scripts: Scripts = {}


class _SkillFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`skills/<name>/skill.json`; the prompt is in `prompt.md`, the scripts in `scripts/`."""

    name: SkillName
    description: Line
    category: Line = "general"
    capabilities: Capabilities = ()


def flaw(skill: Skill) -> tuple[str, str] | None:
    """What the types alone do not say: the field that is wrong, and why; None when sound."""
    if not skill.prompt.strip() and not skill.scripts:
        return "prompt", "is missing; a skill has a prompt, scripts, or both"
    for file, script in skill.scripts.items():
        if not _FILE.fullmatch(file):
            return f"scripts.{file}", "is no plain file name: letters, digits, '.', '_' and '-'"
        if interpreter(file, script) is None:
            endings = ", ".join(INTERPRETERS)
            return f"scripts.{file}", f"cannot be run; begin it with #! or let it end in {endings}"
    return None


def interpreter(file: str, script: str) -> str | None:
    """The command that runs the script: as its first line says, or its ending; None if neither."""
    first = script.partition("\n")[0]
    if first.startswith("#!") and first[2:].strip():
        return first[2:].strip()
    return next((run for ending, run in INTERPRETERS.items() if file.endswith(ending)), None)


def load_skills(folder: Traversable) -> dict[str, Skill]:
    """The skills in `folder`, by name; none when there is no folder. Raises CatalogError."""
    return {one.name: _load(one) for one in files.entries(folder) if one.is_dir()}


def _load(folder: Traversable) -> Skill:
    file, prompt = folder / "skill.json", folder / "prompt.md"
    read = files.decode(file, _SkillFile)
    files.same_name(file, read.name, folder.name)
    skill = Skill(
        name=read.name,
        description=read.description,
        category=read.category,
        capabilities=read.capabilities,
        prompt=files.text(prompt) if prompt.is_file() else "",
        scripts={one.name: files.text(one) for one in files.entries(folder / "scripts")},
    )
    found = flaw(skill)
    if found is not None:
        field, problem = found
        place = prompt if field == "prompt" else file
        raise files.CatalogError(place, problem, field)
    return skill
