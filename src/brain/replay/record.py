"""What is recorded of a turn: enough to run it again without model, tools and people."""

from typing import Final

import msgspec
from msgspec import Struct

from ...errors import SeptemberError
from ..agent import transcript
from ..agent.request import TurnRequest
from ..herald.conversation import ChatMessage
from ..store.connection import Connection

_ENDED: Final = frozenset({"completed", "errored", "cancelled"})


class RecordedTurn(Struct, frozen=True, kw_only=True):
    """A turn that has ended, or a sub-agent's. `messages` are what the transcript has of it.

    They are oldest first; where a cancel came follows from them (see cut.py). `fault` says how its
    last model call failed, after `shown` text or before any; `errors` are the reasons of the tool
    calls that failed, by call id.
    """

    turn_id: str
    agent: str
    request: TurnRequest
    messages: tuple[ChatMessage, ...]
    ending: str
    fault: str | None = None
    shown: bool = False
    errors: dict[str, str] = {}


class _Call(Struct, frozen=True):
    tool_call_id: str = ""


class _Chat(Struct, frozen=True):
    first_piece_ms: float | None = None


def recorded_turn(connection: Connection, turn_id: str) -> RecordedTurn:
    """Gather it. Raises NOT_FOUND, and INVALID_REQUEST for a turn that cannot be run again."""
    row = connection.execute(
        "SELECT task_id, status, agent, request FROM turns WHERE turn_id = ?", (turn_id,)
    ).fetchone()
    if row is None:
        raise SeptemberError(
            "NOT_FOUND", f"no turn {turn_id[:80]!r} is kept", {"turn_id": turn_id[:200]}
        )
    task_id, status, agent, request = row
    if status not in _ENDED:
        raise SeptemberError(
            "INVALID_REQUEST",
            f"{turn_id} cannot be replayed: it is {status}; choose a turn that has ended",
            {"turn_id": turn_id, "status": status},
        )
    fault, shown = _fault(connection, turn_id) if status == "errored" else (None, False)
    stored = transcript.load(connection, task_id)
    if not any(one.turn_id == turn_id for one in stored):
        raise SeptemberError(
            "INVALID_REQUEST",
            f"{turn_id} cannot be replayed: it was {status} before it began, or its transcript is"
            " not kept any more",
            {"turn_id": turn_id, "status": status},
        )
    return RecordedTurn(
        turn_id=turn_id,
        agent=agent,
        request=msgspec.json.decode(request, type=TurnRequest),
        messages=tuple(one.message for one in stored if one.turn_id == turn_id),
        ending=status,
        fault=fault,
        shown=shown,
        errors=_errors(connection, turn_id),
    )


def _fault(connection: Connection, turn_id: str) -> tuple[str | None, bool]:
    """How the last attempt of the turn's last model call failed, and whether text had come."""
    chat = connection.execute(
        "SELECT message, failed, trace_id, span_id FROM trace_rows WHERE turn_id = ?"
        " AND path = 'chat' ORDER BY id DESC LIMIT 1",
        (turn_id,),
    ).fetchone()
    if chat is None or not chat[1]:
        return None, False
    attempt = connection.execute(
        "SELECT outcome FROM trace_rows WHERE trace_id = ? AND parent_id = ?"
        " AND path GLOB 'attempt *' AND failed = 1 ORDER BY id DESC LIMIT 1",
        (chat[2], chat[3]),
    ).fetchone()
    if attempt is None:
        return None, False
    shown = msgspec.json.decode(chat[0], type=_Chat).first_piece_ms is not None
    return str(attempt[0]), shown


def _errors(connection: Connection, turn_id: str) -> dict[str, str]:
    found = connection.execute(
        "SELECT message, outcome FROM trace_rows WHERE turn_id = ? AND kind = 'span'"
        " AND path GLOB 'execute_tool *' AND failed = 1",
        (turn_id,),
    )
    return {
        msgspec.json.decode(message, type=_Call).tool_call_id: outcome for message, outcome in found
    }
