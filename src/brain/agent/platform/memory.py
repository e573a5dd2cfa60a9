"""Tools over memory: episodes, knowledge, and the task's working memory."""

from functools import partial
from typing import Final
from uuid import NAMESPACE_OID, uuid5

from ...channels.events import JsonObject, WorkingMemoryUpdate
from ...clock import iso, now_ms
from ...memory import episodes, knowledge, working
from ...memory.episodes import Episode
from ...memory.knowledge import Fact
from ..tools import Tool, ToolContext, ToolOutput
from .refusal import Refusal, number_of, platform_tool, text_of

_FOUND: Final = 20


@platform_tool(
    "memory_episode_write",
    "Remember something that happened, for good: it can come back in later tasks. Write what a"
    " later reader needs to understand it without this conversation.",
    {
        "key": {
            "type": "string",
            "minLength": 1,
            "maxLength": 200,
            "description": "A short topic to find it by. Example: deploy/staging",
        },
        "description": {
            "type": "string",
            "minLength": 1,
            "maxLength": 2000,
            "description": "What happened, in a sentence.",
        },
        "value": {
            "type": "string",
            "maxLength": 20000,
            "description": "The details: outcome, figures, names, reasons.",
        },
    },
    required=("key", "description", "value"),
)
async def memory_episode_write(arguments: JsonObject, context: ToolContext) -> ToolOutput:
    """Store an episode; the same tool call, repeated after a crash, stores it once."""
    now = now_ms()
    episode = Episode(
        id=f"ep-{uuid5(NAMESPACE_OID, f'{context.turn_id}/{context.tool_call_id}').hex}",
        key=text_of(arguments, "key"),
        description=text_of(arguments, "description"),
        value=text_of(arguments, "value"),
        source=f"turn:{context.turn_id}",
        occurred_at=now,
        created_at=now,
    )
    await context.database.write(partial(episodes.write, episode=episode))
    return ToolOutput(f"remembered as {episode.id}")


@platform_tool(
    "knowledge_search",
    "Search what is known from earlier tasks: facts, rules and preferences, best match first.",
    {
        "query": {
            "type": "string",
            "minLength": 1,
            "maxLength": 2000,
            "description": "What to look for, in words. Example: preferred date format",
        },
        "limit": {
            "type": "integer",
            "minimum": 1,
            "maximum": 100,
            "description": "How many facts at most; 20 by default.",
        },
    },
    required=("query",),
)
async def knowledge_search(arguments: JsonObject, context: ToolContext) -> ToolOutput:
    """Facts that match."""
    found = await context.database.read(
        partial(
            knowledge.search,
            query=text_of(arguments, "query"),
            limit=int(number_of(arguments, "limit", _FOUND)),
            now=now_ms(),
        )
    )
    return ToolOutput("\n".join(map(_line, found)) or "nothing is known about that")


def _line(fact: Fact) -> str:
    return f"- {fact.subject}: {fact.content} ({fact.type}, confidence {fact.confidence:.2g})"


def working_memory_set(lifetime_s: int) -> Tool:
    """The tool `working_memory_set` whose entries live for `lifetime_s` seconds."""

    @platform_tool(
        "working_memory_set",
        "Note something for the rest of this task: it stays in view in later turns, also when the"
        " conversation has been shortened, and is forgotten after a day.",
        {
            "key": {
                "type": "string",
                "minLength": 1,
                "maxLength": 200,
                "description": "The note's name. Writing it again replaces it. Example: plan",
            },
            "value": {
                "type": "string",
                "maxLength": 8000,
                "description": "The note. An empty text erases it.",
            },
        },
        required=("key", "value"),
    )
    async def tool(arguments: JsonObject, context: ToolContext) -> ToolOutput:
        key, value = text_of(arguments, "key"), text_of(arguments, "value") or None
        now = now_ms()
        expires = now + lifetime_s * 1000
        await context.database.write(
            lambda connection: working.note(connection, context.task_id, key, value, now, expires)
        )
        update = WorkingMemoryUpdate(key=key, value=value, expires_at=iso(expires))
        await context.emit(update)
        return ToolOutput(f"noted {key}" if value else f"erased {key}")

    return tool


@platform_tool(
    "working_memory_get",
    "Read this task's notes: one by its key, or all of them.",
    {
        "key": {
            "type": "string",
            "minLength": 1,
            "description": "The note's name; without it, all notes.",
        }
    },
)
async def working_memory_get(arguments: JsonObject, context: ToolContext) -> ToolOutput:
    """Notes in force."""
    now = now_ms()
    notes = dict(
        await context.database.read(
            lambda connection: working.entries(connection, context.task_id, now)
        )
    )
    key = text_of(arguments, "key")
    if not key:
        return ToolOutput("\n".join(f"{k}: {v}" for k, v in notes.items()) or "no notes")
    if key not in notes:
        known = ", ".join(notes) or "none"
        raise Refusal("not_found", f"there is no note {key!r}; there are: {known}")
    return ToolOutput(notes[key])
