"""Running a skill by itself: its prompt as one model call, or a script of it in the sandbox."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final
from uuid import uuid4

import msgspec
import trio

from ....errors import SeptemberError
from ...catalog import Skill
from ...catalog.skills import interpreter
from ...channels.events import JsonObject
from ...herald.conversation import ChatMessage, SystemPart, TextBlock, ToolDef
from ...herald.gateway import ModelCall
from ...sandbox.sandbox import RunCommand, run_command
from ...skills import rows
from ...skills.prompt import filled, parameters, shown
from ..bash.tables import SHELLS
from ..files import place_files
from ..platform.shell import told
from ..tools import Tool, ToolContext, ToolOutput
from ..workshop import Workshop

FOLDER: Final = ".skills"
"""Where in a workspace the scripts of skills are."""

TIMEOUT_S: Final = 300.0

SCRIPT: Final = "script"
"""The parameter that names which of several scripts is run."""


def skill_tool(workshop: Workshop, skill: Skill, definition: ToolDef) -> Tool:
    """The skill as a tool of this definition; a shell script of it is judged as bash is."""
    run = partial(run_skill, workshop, skill)
    return Tool(definition, run, judged_as=partial(_judged_as, skill, definition.name))


async def run_skill(
    workshop: Workshop, skill: Skill, arguments: JsonObject, context: ToolContext
) -> ToolOutput:
    """Run the script that is meant, or else the prompt. How it went is counted.

    Raises INVALID_REQUEST naming a parameter, and what model calls raise.
    """
    script = _meant(skill, arguments)
    work = partial(_prompt, workshop) if script is None else partial(_script, script)
    failed = True
    try:
        output = await work(skill, arguments, context)
        failed = output.error is not None
    except SeptemberError as error:
        failed = error.code != "INVALID_REQUEST"  # that is the caller's fault
        raise
    finally:
        with trio.CancelScope(shield=True):
            await workshop.database.write(partial(rows.note_run, name=skill.name, failed=failed))
    return output


class Script(msgspec.Struct, frozen=True):
    """A script of a skill: its name and its text."""

    name: str
    text: str

    def path(self, skill: Skill) -> str:
        """Where it is in a workspace."""
        return f"{FOLDER}/{skill.name}/{self.name}"

    def command(self, skill: Skill) -> str:
        """What runs it there."""
        return f"{interpreter(self.name, self.text)} {self.path(skill)}"

    @property
    def is_shell(self) -> bool:
        """Whether a shell runs it, so that the rules for commands can read it."""
        words = (interpreter(self.name, self.text) or "").split()
        return any(word.rpartition("/")[2] in SHELLS for word in words)


async def place_scripts(skill: Skill, workspace: Path) -> tuple[Script, ...]:
    """Put the skill's scripts into the workspace."""
    scripts = tuple(Script(name, text) for name, text in skill.scripts.items())
    await place_files(workspace, {one.path(skill): one.text for one in scripts}, "scripts")
    return scripts


def _judged_as(skill: Skill, name: str, arguments: JsonObject) -> tuple[str, JsonObject]:
    try:
        script = _meant(skill, arguments)
    except SeptemberError:
        return name, arguments  # the run says what is wrong
    if script is None or not script.is_shell:
        return name, arguments
    return "bash", {"command": script.text}


def _meant(skill: Skill, arguments: Mapping[str, object]) -> Script | None:
    name = arguments.get(SCRIPT)
    if name is None and not skill.prompt and len(skill.scripts) == 1:
        name = next(iter(skill.scripts))
    if name is None and skill.prompt:
        return None
    if not isinstance(name, str) or name not in skill.scripts:
        raise SeptemberError(
            "INVALID_REQUEST",
            f"params.{SCRIPT}: name one of the skill's scripts:"
            f" {', '.join(skill.scripts) or 'it has none'}",
            {"field": f"params.{SCRIPT}", "known": list(skill.scripts)},
        )
    return Script(name, skill.scripts[name])


async def _prompt(
    workshop: Workshop, skill: Skill, arguments: JsonObject, context: ToolContext
) -> ToolOutput:
    """One model call without tools; what no parameter takes is what it works on."""
    known = parameters(skill.prompt)
    prompt = filled(skill.prompt, arguments)
    work = {name: shown(value) for name, value in arguments.items() if name not in known}
    system: tuple[SystemPart, ...] = (SystemPart(prompt),)
    message = "\n\n".join(work.values())
    if len(work) > 1:
        message = "\n\n".join(f"<{name}>\n{text}\n</{name}>" for name, text in work.items())
    elif not work:
        system, message = (), prompt
    call = ModelCall(
        system=system, messages=(ChatMessage("user", (TextBlock(message),)),), cache=False
    )
    completed = await workshop.open_gateway().complete(call)
    blocks = completed.message.blocks
    text = "".join(block.text for block in blocks if isinstance(block, TextBlock))
    return ToolOutput(text, truncated=completed.stop_reason == "max_tokens")


async def _script(
    script: Script, skill: Skill, arguments: JsonObject, context: ToolContext
) -> ToolOutput:
    """The parameters go in as JSON on stdin; what it prints is the answer."""
    await place_scripts(skill, context.workspace)
    given = {name: value for name, value in arguments.items() if name != SCRIPT}
    source = f"{FOLDER}/{skill.name}/.input-{uuid4().hex}.json"
    await place_files(context.workspace, {source: msgspec.json.encode(given).decode()}, "scripts")
    try:
        order = RunCommand(
            f"{script.command(skill)} <{source}", context.workspace, context.roots, TIMEOUT_S
        )
        return told(await run_command(context.sandbox, order), TIMEOUT_S)
    finally:
        (context.workspace / source).unlink(missing_ok=True)
