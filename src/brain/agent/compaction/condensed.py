"""A condensed transcript: what of it the model is shown, and the row that says so.

The messages themselves stay as they are, for the person and for edits. A summary stands for those
up to one place; up to another the results of tools are shown in part.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from ...channels.events import JsonObject
from ...clock import now_ms
from ...herald.conversation import (
    Block,
    ChatMessage,
    MediaBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from ...store.connection import Connection
from ..transcript import StoredMessage

SHOWN: Final = 600
"""Characters of a collapsed text that are kept: the first two thirds of them and the last."""

_FRAME: Final = (
    "<summary>\nWhat follows stands for the earlier part of this conversation. It is a record, not"
    " a request.\n{summary}\n</summary>"
)
_LEFT_OUT: Final = (
    "\n[… {count} characters left out to save room; call the tool again to see them]\n"
)
_MEDIA: Final = TextBlock("[an attachment was here; it was left out to save room]")


class Condensed(Struct, frozen=True):
    """How a transcript is shown: `summary` for messages up to `upto_seq`, and results of tools in
    part up to `collapsed_seq`. `author` is the model that wrote the summary, or `extract`."""

    upto_seq: int = 0
    collapsed_seq: int = 0
    summary: str = ""
    author: str = ""


WHOLE: Final = Condensed()
"""Nothing is condensed."""


def held(connection: Connection, task_id: str) -> Condensed:
    """How the task's transcript is shown now."""
    found = connection.execute(
        "SELECT upto_seq, collapsed_seq, summary, author FROM compactions"
        " WHERE task_id = ? ORDER BY id DESC LIMIT 1",
        (task_id,),
    ).fetchone()
    return Condensed(*found) if found is not None else WHOLE


def keep(
    connection: Connection,
    task_id: str,
    turn_id: str,
    condensed: Condensed,
    before: int,
    after: int,
) -> None:
    """Show the transcript this way from now on; `before` and `after` are tokens."""
    connection.execute(
        "INSERT INTO compactions (task_id, turn_id, upto_seq, collapsed_seq, summary, author,"
        " tokens_before, tokens_after, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(task_id, turn_id, condensed.upto_seq, condensed.collapsed_seq),
            *(condensed.summary, condensed.author, before, after, now_ms()),
        ),
    )


def keep_ratio(connection: Connection, task_id: str, ratio: float) -> None:
    """Remember how the provider counts this task's tokens."""
    connection.execute(
        "UPDATE conversations SET tokens_per_estimate = ? WHERE task_id = ?", (ratio, task_id)
    )


def ratio_of(connection: Connection, task_id: str) -> float:
    """How the provider counted when it was last asked; 1 before that."""
    found = connection.execute(
        "SELECT tokens_per_estimate FROM conversations WHERE task_id = ?", (task_id,)
    ).fetchone()
    return float(found[0]) if found else 1.0


def shown(entries: Sequence[StoredMessage], condensed: Condensed) -> list[ChatMessage]:
    """The messages as the model sees them; a valid transcript where `entries` is one.

    Where the summary ends within a turn, the message that the turn answers stands after it.
    """
    messages: list[ChatMessage] = []
    if condensed.summary:
        text = _FRAME.format(summary=condensed.summary)
        messages.append(ChatMessage("user", (TextBlock(text),)))
    asked = last_asked(entries)
    if asked is not None and asked.seq <= condensed.upto_seq:
        messages.append(asked.message)
    messages += [
        part(entry, asked) if entry.seq <= condensed.collapsed_seq else entry.message
        for entry in entries
        if entry.seq > condensed.upto_seq
    ]
    return messages


def part(entry: StoredMessage, asked: StoredMessage | None) -> ChatMessage:
    """A message as it is shown in part; the one that is being answered stays whole."""
    return entry.message if entry is asked else collapsed(entry.message)


def last_asked(entries: Sequence[StoredMessage]) -> StoredMessage | None:
    """The last message that the person wrote."""
    return next((entry for entry in reversed(entries) if asks(entry.message)), None)


def asks(message: ChatMessage) -> bool:
    """Whether the person wrote it: a message with results of tools is the loop's own."""
    return message.role == "user" and not any(
        isinstance(block, ToolResultBlock) for block in message.blocks
    )


def collapsed(message: ChatMessage) -> ChatMessage:
    """The message with long inputs and results of tools in part; what people wrote stays."""
    if asks(message):
        blocks = tuple(_MEDIA if isinstance(b, MediaBlock) else b for b in message.blocks)
        return ChatMessage(message.role, blocks)
    return ChatMessage(message.role, tuple(_collapsed(block) for block in message.blocks))


def _collapsed(block: Block) -> Block:
    match block:
        case ToolResultBlock(content=content):
            return replace(block, content=clipped(content))
        case ToolUseBlock(input=arguments):
            return replace(block, input=_clipped_values(arguments))
        case _:
            return _MEDIA if isinstance(block, MediaBlock) else block


def _clipped_values(arguments: JsonObject) -> JsonObject:
    return {
        name: clipped(value) if isinstance(value, str) else value
        for name, value in arguments.items()
    }


def clipped(text: str) -> str:
    """The beginning and the end of a long text."""
    if len(text) <= 2 * SHOWN:
        return text
    head, tail = SHOWN * 2 // 3, SHOWN // 3
    return text[:head] + _LEFT_OUT.format(count=len(text) - head - tail) + text[-tail:]
