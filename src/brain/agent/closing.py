"""Closing a turn that did not complete: cancelled, failed, crashed, or found open at boot.

All of them end the same way, from what is in the brain alone: the text that the client saw
becomes part of the transcript, every unanswered tool call gets a result, and the last events say
why. So a turn can be closed by itself, by the coordinator, or by the next process.
"""

from functools import partial
from typing import Literal, TypeAlias

import msgspec

from ...actors import ActorRef
from ...errors import SeptemberError
from ..channels.channel import Channel
from ..channels.events import Error, Event, ThreadLifecycle, ToolResult
from ..channels.log import LogMessage, append
from ..clock import new_id, now_ms, timestamp
from ..herald.conversation import ChatMessage, TextBlock
from ..store.connection import Connection
from ..store.database import Database
from . import transcript
from .nested_records import close_below, ended, unstored_text
from .transcript import StoredCall

Phase: TypeAlias = Literal["cancelled", "errored"]

INTERRUPTED = SeptemberError(
    "INTERRUPTED",
    "the Engine stopped while this turn ran; what you saw is kept: send the message again",
)
"""The error of a turn whose process ended before it did."""


class Ending(msgspec.Struct, frozen=True):
    """How a turn ends. `error` is set for `errored`; `reason` is what open tools are told."""

    phase: Phase
    reason: str
    error: SeptemberError | None = None


CANCELLED = Ending("cancelled", "cancelled")
ABANDONED = Ending("errored", "interrupted", INTERRUPTED)


class _Remains(msgspec.Struct, frozen=True):
    """What an unfinished turn left: text that was seen but not stored, and open tool calls."""

    text: str
    calls: tuple[StoredCall, ...]


async def complete(channel: Channel, task_id: str, turn_id: str) -> None:
    """End a turn that did what it was to do."""
    closed = ThreadLifecycle(
        phase="completed", task_id=task_id, turn_id=turn_id, timestamp=timestamp()
    )
    done = partial(finish, task_id=task_id, turn_id=turn_id, status="completed")
    await channel.commit(closed, also=done)


async def close(
    database: Database, log: ActorRef[LogMessage], task_id: str, turn_id: str, ending: Ending
) -> None:
    """Close the turn if it is still open; doing it twice is the same as doing it once."""
    # A cancelled turn withdraws what it asked of the log, but an append under way goes on: look
    # at what it left only when it is done.
    await append(log, task_id, turn_id, ())
    remains = await database.read(partial(_remains, turn_id=turn_id))
    if remains is None:
        return
    calls = tuple(ended(call, ending.reason) for call in remains.calls)
    told = [_told(call) for call, was in zip(calls, remains.calls, strict=True) if call is not was]
    events = (*told, *_last_words(task_id, turn_id, ending))
    text = remains.text
    work = partial(_store, task_id=task_id, turn_id=turn_id, text=text, calls=calls, ending=ending)
    await append(log, task_id, turn_id, events, work)


def _last_words(task_id: str, turn_id: str, ending: Ending) -> tuple[Event, ...]:
    closed = ThreadLifecycle(
        phase=ending.phase, task_id=task_id, turn_id=turn_id, timestamp=timestamp()
    )
    if ending.error is None:
        return (closed,)
    error = ending.error
    details = error.details or msgspec.UNSET
    return (closed, Error(error=error.code, message=error.message, details=details))


def _told(call: StoredCall) -> ToolResult:
    return ToolResult(
        tool_call_id=call.tool_call_id,
        tool=call.tool,
        output="",
        error=call.error,
        duration_ms=0,
        truncated=False,
    )


def _remains(connection: Connection, turn_id: str) -> _Remains | None:
    status = connection.execute("SELECT status FROM turns WHERE turn_id = ?", (turn_id,)).fetchone()
    if status is None or status[0] not in ("queued", "running", "waiting"):
        return None
    text = unstored_text(connection, turn_id, None)
    return _Remains(text, transcript.open_calls(connection, turn_id))


def _store(
    connection: Connection,
    task_id: str,
    turn_id: str,
    text: str,
    calls: tuple[StoredCall, ...],
    ending: Ending,
) -> None:
    if text.strip():
        transcript.add(connection, task_id, turn_id, ChatMessage("assistant", (TextBlock(text),)))
    if calls:
        transcript.settle_calls(connection, task_id, turn_id, calls)
    finish(connection, task_id, turn_id, ending.phase, ending.error)


def finish(
    connection: Connection,
    task_id: str,
    turn_id: str,
    status: Literal["completed", "cancelled", "errored"],
    error: SeptemberError | None = None,
) -> None:
    """Mark the turn closed, with all below it, and keep its trajectory for the Learning Centre."""
    close_below(connection, turn_id, "cancelled" if status == "cancelled" else "interrupted")
    now = now_ms()
    connection.execute(
        "UPDATE turns SET status = ?, ended_at = ?, error_code = ?, error_message = ?"
        " WHERE turn_id = ?",
        (status, now, error.code if error else None, error.message if error else None, turn_id),
    )
    connection.execute("UPDATE conversations SET updated_at = ? WHERE task_id = ?", (now, task_id))
    connection.execute(
        "INSERT OR IGNORE INTO trajectories"
        " (trajectory_id, task_id, turn_id, outcome, summary, created_at)"
        " SELECT ?, task_id, turn_id, ?, json_extract(request, '$.message'), ?"
        " FROM turns WHERE turn_id = ?",
        (new_id("trajectory"), status, now, turn_id),
    )
