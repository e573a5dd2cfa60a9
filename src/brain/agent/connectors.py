"""The actions of connected servers as tools of a turn (contract, section 11)."""

import mimetypes
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Final, cast
from uuid import uuid4

import trio

from ...actors import ActorRef
from ...errors import SeptemberError
from ..assets.actions import Action, Attachment, Caller, Content, Progress
from ..assets.connection import (
    CallAction,
    ConnectionMessage,
    GetPrompt,
    ListReadable,
    ReadResource,
)
from ..assets.directory import DirectoryMessage, Reach
from ..channels.events import JsonObject, ToolProgress
from ..herald.conversation import ToolDef
from ..hitl import Answer
from ..media.shown import presentable, shown
from ..security.secrets import SecretScrubber
from .tools import Tool, ToolContext, ToolOutput
from .workshop import Workshop

PROGRESS_S: Final = 0.5
"""Seconds between two tellings of a call's progress."""

_READ: Final = "connector_read"


def connector_tools(
    workshop: Workshop, actions: Iterable[Action], allowed: Sequence[str], named: Collection[str]
) -> dict[str, Tool]:
    """Tools for the actions that are `named`, and of servers that fit a pattern of `allowed`."""
    actions = [
        one
        for one in actions
        if one.full_name in named or any(fnmatchcase(one.server, each) for each in allowed)
    ]
    if not actions:
        return {}
    tools = [action_tool(workshop, action) for action in actions]
    tools.append(_reader(workshop, sorted({one.server for one in actions})))
    return {tool.definition.name: tool for tool in tools}


def action_tool(workshop: Workshop, action: Action) -> Tool:
    """An action as a tool under its full name."""
    definition = ToolDef(action.full_name, action.description, action.input_schema)
    run = partial(_run, workshop.assets, workshop.scrubber, action)
    return Tool(definition, run, action.requires_permission)


async def _run(
    assets: ActorRef[DirectoryMessage],
    scrubber: SecretScrubber,
    action: Action,
    arguments: JsonObject,
    context: ToolContext,
) -> ToolOutput:
    connection = await _reach(assets, action.server)
    caller = Caller(_Person(context), _Teller(context, action.full_name, scrubber))
    answer = await connection.call(CallAction(action.name, arguments, caller))
    return await _output(answer, action.full_name, scrubber, context)


class _Person:
    """Asks the turn's person on a server's behalf; each question of a call has its own id."""

    def __init__(self, context: ToolContext) -> None:
        self._context = context
        self._asked = 0

    async def __call__(self, question: str, options: tuple[str, ...]) -> Answer:
        self._asked += 1
        call_id = f"{self._context.tool_call_id}#{self._asked}"
        return await self._context.ask(call_id, "question", question, options=options)


class _Teller:
    """Tells the client how far a call is, now and then: a server may say it a thousand times."""

    def __init__(self, context: ToolContext, tool: str, scrubber: SecretScrubber) -> None:
        self._context = context
        self._tool = tool
        self._scrubber = scrubber
        self._next = 0.0

    async def __call__(self, progress: Progress) -> None:
        now = trio.current_time()
        if now < self._next:
            return
        self._next = now + PROGRESS_S
        told = ToolProgress(
            tool_call_id=self._context.tool_call_id,
            tool=self._tool,
            progress=progress.done,
            total=progress.total,
            message=self._scrubber.scrub(progress.message[:500]),
        )
        await self._context.emit(told)


def _reader(workshop: Workshop, servers: list[str]) -> Tool:
    """One tool for what connected servers let one read: resources and prompts."""
    schema: JsonObject = {
        "type": "object",
        "properties": {
            "server": {"type": "string", "enum": servers},
            "uri": {"type": "string", "description": "A resource to read."},
            "prompt": {"type": "string", "description": "A prompt to fill in."},
            "arguments": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "required": ["server"],
        "additionalProperties": False,
    }
    text = (
        "Read from a connected server: a resource by its uri, or a prompt with its arguments;"
        " with neither, list the resources and prompts that there are."
    )
    return Tool(ToolDef(_READ, text, schema), partial(_read, workshop.assets, workshop.scrubber))


async def _read(
    assets: ActorRef[DirectoryMessage],
    scrubber: SecretScrubber,
    arguments: JsonObject,
    context: ToolContext,
) -> ToolOutput:
    connection = await _reach(assets, str(arguments["server"]))
    if "uri" in arguments:
        answer = await connection.call(ReadResource(str(arguments["uri"])))
    elif "prompt" in arguments:
        values = cast("dict[str, str]", arguments.get("arguments") or {})
        answer = await connection.call(GetPrompt(str(arguments["prompt"]), values))
    else:
        answer = await _listing(connection)
    return await _output(answer, _READ, scrubber, context)


async def _listing(connection: ActorRef[ConnectionMessage]) -> Content | SeptemberError:
    found = await connection.call(ListReadable())
    if isinstance(found, SeptemberError):
        return found
    resources, prompts = found
    lines = [f"resource {one.name}: {one.description}" for one in resources]
    lines += [f"prompt {one.name}: {one.description}" for one in prompts]
    return Content("\n".join(lines) or "[nothing]")


async def _reach(assets: ActorRef[DirectoryMessage], server: str) -> ActorRef[ConnectionMessage]:
    found = await assets.call(Reach(server))
    if isinstance(found, SeptemberError):
        raise found
    return found


async def _output(
    answer: Content | SeptemberError, tool: str, scrubber: SecretScrubber, context: ToolContext
) -> ToolOutput:
    """The answer as the model sees it: without our secrets, and not longer than it can read.

    Attachments go into the workspace; pictures among them are shown, too.
    """
    if isinstance(answer, SeptemberError):
        return ToolOutput(answer.message, answer.code.lower())
    text, workspace = scrubber.scrub(answer.text), context.workspace
    notes: list[str] = []
    truncated = len(text) > answer.limit
    if truncated:
        whole = Attachment("text/plain", text.encode())
        name = await trio.to_thread.run_sync(_save, workspace, tool, whole)
        notes.append(f"[cut; all {len(text)} characters are in the file {name}]")
        text = text[: answer.limit]
    for one in answer.attachments:
        name = await trio.to_thread.run_sync(_save, workspace, tool, one)
        notes.append(f"[{one.media_type}, {len(one.data)} bytes, in the file {name}]")
    told = "\n".join(filter(None, (text, *notes))) or "[no output]"
    pictures = [one.data for one in answer.attachments if one.media_type.startswith("image/")]
    media = await shown(context.database, context.task_id, await presentable(pictures))
    return ToolOutput(told, "tool_failed" if answer.failed else None, truncated, media)


def _save(workspace: Path, tool: str, one: Attachment) -> str:
    """Write an attachment under a new name; a file that the task put there is never followed."""
    ending = mimetypes.guess_extension(one.media_type.partition(";")[0]) or ".bin"
    name = f"{tool.replace('.', '-')}-{uuid4().hex[:8]}{ending}"
    workspace.mkdir(parents=True, exist_ok=True)
    with (workspace / name).open("xb") as file:
        file.write(one.data)
    return name
