"""The transcript of a task: its messages, and the tool calls not yet answered in it.

Every function runs inside a transaction of the caller's. A stored transcript is always valid:
an assistant message with tool calls is either followed by a message with all their results, or
it is the last one and its calls stand in `tool_calls`.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from ...errors import SeptemberError
from ..channels.events import JsonObject
from ..clock import new_id, now_ms
from ..herald.conversation import (
    Block,
    ChatMessage,
    MediaBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from ..media.rows import as_column, of_column
from ..store.connection import Connection

CallStatus: TypeAlias = Literal["requested", "started", "finished"]


class StoredMessage(Struct, frozen=True):
    """A message with its place in the task."""

    seq: int
    message_id: str
    turn_id: str
    message: ChatMessage
    created_at: int


class StoredCall(Struct, frozen=True, kw_only=True):
    """A tool call and what is known of its result."""

    tool_call_id: str
    tool: str
    input: JsonObject
    status: CallStatus
    output: str | None = None
    error: str | None = None
    truncated: bool = False
    duration_ms: int | None = None
    media: tuple[MediaBlock, ...] = ()


def load(connection: Connection, task_id: str, after: int = 0) -> tuple[StoredMessage, ...]:
    """The messages in force with a place above `after`, oldest first."""
    rows = connection.execute(
        "SELECT seq, message_id, turn_id, role, blocks, created_at FROM messages"
        " WHERE task_id = ? AND seq > ? AND superseded_at IS NULL ORDER BY seq",
        (task_id, after),
    )
    return tuple(
        StoredMessage(seq, message_id, turn_id, ChatMessage(role, _blocks(blocks)), created_at)
        for seq, message_id, turn_id, role, blocks, created_at in rows
    )


def add(connection: Connection, task_id: str, turn_id: str, message: ChatMessage) -> str:
    """Append a message; return its id."""
    message_id = new_id("msg")
    add_as(connection, message_id, task_id, turn_id, message)
    return message_id


def add_as(
    connection: Connection, message_id: str, task_id: str, turn_id: str, message: ChatMessage
) -> None:
    """Append a message whose id is already known to somebody."""
    blocks = msgspec.json.encode(message.blocks).decode()
    connection.execute(
        "INSERT INTO messages (message_id, task_id, turn_id, role, blocks, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (message_id, task_id, turn_id, message.role, blocks, now_ms()),
    )


def edited(connection: Connection, task_id: str, message_id: str) -> int:
    """The place of the user message that an edit replaces; raises INVALID_REQUEST."""
    seq = _seq(connection, task_id, message_id, "edit_message_id")
    if _asked(connection, task_id, seq) != (seq, message_id):
        raise SeptemberError(
            "INVALID_REQUEST",
            "edit_message_id: only a message that the user wrote can be replaced",
            {"field": "edit_message_id", "message_id": message_id},
        )
    return seq


def retried(connection: Connection, task_id: str, message_id: str) -> tuple[int, str]:
    """Place and id of the user message to answer again; raises INVALID_REQUEST.

    An assistant message stands for the user message it answers.
    """
    seq = _seq(connection, task_id, message_id, "retry_message_id")
    asked = _asked(connection, task_id, seq)
    if asked is None:
        raise _unknown(task_id, message_id, "retry_message_id")
    return asked


def last_asked_at(connection: Connection, task_id: str) -> int:
    """The place of the last message that the user wrote; 0 where there is none."""
    found = _asked(connection, task_id, 2**62)
    return found[0] if found is not None else 0


def supersede(connection: Connection, task_id: str, seq: int) -> None:
    """Put the message at `seq` and all after it out of force; nothing is deleted.

    A summary that speaks of them goes; one made before, or the messages themselves, take over.
    """
    connection.execute(
        "UPDATE messages SET superseded_at = ?"
        " WHERE task_id = ? AND seq >= ? AND superseded_at IS NULL",
        (now_ms(), task_id, seq),
    )
    connection.execute(
        "DELETE FROM compactions WHERE task_id = ? AND upto_seq >= ?", (task_id, seq)
    )


def request_calls(connection: Connection, turn_id: str, calls: Sequence[ToolUseBlock]) -> None:
    """Note the tool calls of an assistant message that is being stored."""
    connection.executemany(
        "INSERT INTO tool_calls (tool_call_id, turn_id, position, tool, input, status)"
        " VALUES (?, ?, ?, ?, ?, 'requested')",
        [
            (call.id, turn_id, position, call.name, msgspec.json.encode(call.input).decode())
            for position, call in enumerate(calls)
        ],
    )


def start_call(connection: Connection, turn_id: str, tool_call_id: str) -> None:
    """From here on the tool may have had its effect."""
    connection.execute(
        "UPDATE tool_calls SET status = 'started' WHERE turn_id = ? AND tool_call_id = ?",
        (turn_id, tool_call_id),
    )


def finish_call(connection: Connection, turn_id: str, call: StoredCall) -> None:
    """Keep a tool's answer until all answers of the message are there."""
    connection.execute(
        "UPDATE tool_calls SET status = 'finished', output = ?, error = ?, truncated = ?,"
        " duration_ms = ?, media = ? WHERE turn_id = ? AND tool_call_id = ?",
        (
            call.output, call.error, call.truncated, call.duration_ms,
            as_column(call.media),
            turn_id, call.tool_call_id,
        ),
    )  # fmt: skip


def open_calls(connection: Connection, turn_id: str) -> tuple[StoredCall, ...]:
    """The calls whose results are not in the transcript yet, in call order."""
    rows = connection.execute(
        "SELECT tool_call_id, tool, input, status, output, error, truncated, duration_ms, media"
        " FROM tool_calls WHERE turn_id = ? ORDER BY position",
        (turn_id,),
    )
    return tuple(
        StoredCall(
            tool_call_id=tool_call_id,
            tool=tool,
            input=msgspec.json.decode(arguments, type=JsonObject),
            status=status,
            output=output,
            error=error,
            truncated=bool(truncated),
            duration_ms=duration_ms,
            media=of_column(media),
        )
        for (
            tool_call_id,
            tool,
            arguments,
            status,
            output,
            error,
            truncated,
            duration_ms,
            media,
        ) in rows
    )


def settle_calls(
    connection: Connection, task_id: str, turn_id: str, calls: Sequence[StoredCall]
) -> None:
    """Move the results of all open calls into the transcript."""
    add(connection, task_id, turn_id, results(calls))
    connection.execute("DELETE FROM tool_calls WHERE turn_id = ?", (turn_id,))


def results(calls: Sequence[StoredCall]) -> ChatMessage:
    """The message that answers all calls of the message before; media come behind the answers."""
    media = (block for call in calls for block in call.media)
    return ChatMessage("user", (*map(_result, calls), *media))


def _result(call: StoredCall) -> ToolResultBlock:
    """What the model is told of a finished call."""
    text = call.output or ""
    if call.error is not None:
        text = f"{call.error}: {text}" if text else call.error
    return ToolResultBlock(call.tool_call_id, call.tool, text, is_error=call.error is not None)


def _blocks(stored: str) -> tuple[Block, ...]:
    return msgspec.json.decode(stored, type=tuple[Block, ...])


def _seq(connection: Connection, task_id: str, message_id: str, field: str) -> int:
    found = connection.execute(
        "SELECT seq FROM messages WHERE task_id = ? AND message_id = ? AND superseded_at IS NULL",
        (task_id, message_id),
    ).fetchone()
    if found is None:
        raise _unknown(task_id, message_id, field)
    return int(found[0])


def _asked(connection: Connection, task_id: str, seq: int) -> tuple[int, str] | None:
    """The last message at or before `seq` that the user wrote (a tool result is none)."""
    return connection.execute(
        "SELECT seq, message_id FROM messages WHERE task_id = ? AND seq <= ? AND role = 'user'"
        ' AND superseded_at IS NULL AND blocks NOT LIKE \'%"type":"tool_result"%\''
        " ORDER BY seq DESC LIMIT 1",
        (task_id, seq),
    ).fetchone()


def _unknown(task_id: str, message_id: str, field: str) -> SeptemberError:
    return SeptemberError(
        "INVALID_REQUEST",
        f"{field}: task {task_id!r} has no message {message_id!r} in force;"
        f" GET /conversations/{task_id} lists its messages",
        {"field": field, "message_id": message_id},
    )
