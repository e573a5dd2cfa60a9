"""read_attachment: a long document that came with a message, in parts."""

import re
from functools import partial
from typing import Final

from ...channels.events import JsonObject
from ...media import rows
from ...media.rows import Chunk
from ..tools import ToolContext, ToolOutput
from .refusal import Refusal, number_of, platform_tool, text_of

NAME: Final = "read_attachment"
PARTS: Final = 10
"""Parts of one answer: at most 40,000 characters."""

_FOUND: Final = 10


@platform_tool(
    NAME,
    "Read a long document that was attached to a message of this task: some of its parts, or the"
    " places where it speaks of something.",
    {
        "media_id": {
            "type": "string",
            "minLength": 1,
            "description": "The document, as the message names it. Example: media-5f0c…",
        },
        "query": {
            "type": "string",
            "minLength": 1,
            "maxLength": 500,
            "description": "Words to look for; answers with the parts that hold them, best first.",
        },
        "part": {
            "type": "integer",
            "minimum": 1,
            "description": "The first part to read, when there is no query; 1 by default.",
        },
        "parts": {
            "type": "integer",
            "minimum": 1,
            "maximum": PARTS,
            "description": "How many parts to read; 3 by default.",
        },
    },
    required=("media_id",),
)
async def read_attachment(arguments: JsonObject, context: ToolContext) -> ToolOutput:
    """Parts of a document, or snippets."""
    media_id = text_of(arguments, "media_id")
    known = await context.database.read(partial(rows.find, media_id=media_id))
    if known is None or known.task_id != context.task_id:
        raise Refusal("not_found", f"this task has no attachment {media_id!r}")
    query = text_of(arguments, "query")
    if query:
        return await _found(media_id, query, context)
    first, count = int(number_of(arguments, "part", 1)), int(number_of(arguments, "parts", 3))
    chunks = await context.database.read(
        partial(rows.chunks_of, media_id=media_id, first=first, count=count)
    )
    total, _ = await context.database.read(partial(rows.size_of_text, media_id=media_id))
    if not chunks:
        raise Refusal("no_such_part", f"it has {total} part(s) of text; ask for one of those")
    last = chunks[-1].position
    more = f"; ask for part {last + 1} to go on" if last < total else ""
    text = "\n\n".join(map(_shown, chunks))
    note = f"[parts {first} to {last} of {total}{more}]"
    return ToolOutput(f"{text}\n\n{note}", truncated=bool(more))


async def _found(media_id: str, query: str, context: ToolContext) -> ToolOutput:
    words = re.findall(r"\w+", query)
    match = " OR ".join(f'"{word}"' for word in words)
    found = (
        await context.database.read(
            partial(rows.search, media_id=media_id, match=match, limit=_FOUND)
        )
        if match
        else ()
    )
    lines = [
        f"part {chunk.position} ({chunk.label}): {' '.join(snippet.split())}"
        for chunk, snippet in found
    ]
    return ToolOutput("\n".join(lines) or "nothing found; try other words, or read its parts")


def _shown(chunk: Chunk) -> str:
    return f"[part {chunk.position}, {chunk.label}]\n{chunk.text}"
