"""Taking a turn up again: which of its tool calls may still run after a restart."""

from functools import partial

import msgspec

from ..store.connection import Connection
from ..store.database import Database
from . import transcript
from .transcript import StoredCall

INTERRUPTED = "the Engine stopped while this ran; it may or may not have had its effect"


async def calls_to_resume(database: Database, turn_id: str) -> tuple[StoredCall, ...]:
    """The open calls. One that had started and waits for nobody is not run a second time."""
    return await database.read(partial(_calls, turn_id=turn_id))


def _calls(connection: Connection, turn_id: str) -> tuple[StoredCall, ...]:
    rows = connection.execute(
        "SELECT tool_call_id FROM hitl_requests WHERE turn_id = ? AND status = 'pending'",
        (turn_id,),
    )
    waiting = {tool_call_id for (tool_call_id,) in rows}
    return tuple(_fit(call, waiting) for call in transcript.open_calls(connection, turn_id))


def _fit(call: StoredCall, waiting: set[str]) -> StoredCall:
    if call.status != "started" or call.tool_call_id in waiting:
        return call
    return msgspec.structs.replace(
        call, status="finished", error="interrupted", output=INTERRUPTED, duration_ms=0
    )
