"""Opening a turn: from here on it runs, and its user message is in the transcript."""

from functools import partial

from msgspec import Struct

from ..channels.channel import Channel
from ..channels.events import ThreadLifecycle
from ..clock import new_id, timestamp
from ..herald.conversation import Block, ChatMessage, TextBlock
from ..store.connection import Connection
from ..store.database import Database
from . import transcript
from .job import Job
from .request import TurnRequest


class Opening(Struct, frozen=True):
    """Which messages go out of force (from `supersede`), and under which id the new one goes in.

    `adds` is False for a retry: its message is in the transcript already.
    """

    message_id: str
    supersede: int | None = None
    adds: bool = True


def plan(connection: Connection, task_id: str, request: TurnRequest) -> Opening:
    """What opening the turn will do; raises INVALID_REQUEST for an unknown message id."""
    if request.edit_message_id is not None:
        seq = transcript.edited(connection, task_id, request.edit_message_id)
        return Opening(new_id("msg"), seq)
    if request.retry_message_id is not None:
        seq, message_id = transcript.retried(connection, task_id, request.retry_message_id)
        return Opening(message_id, seq + 1, adds=False)
    return Opening(new_id("msg"))


async def open_turn(database: Database, channel: Channel, job: Job) -> None:
    """Mark the turn running, bring the transcript up to its message, tell the client.

    Of one that is resumed, all that has been done.
    """
    if job.resumed:
        return
    request = job.request
    if request.edit_message_id or request.retry_message_id:
        opening = await database.read(partial(plan, task_id=job.task_id, request=request))
    else:
        opening = Opening(new_id("msg"))
    started = ThreadLifecycle(
        phase="started",
        task_id=job.task_id,
        turn_id=job.turn_id,
        timestamp=timestamp(),
        message_id=opening.message_id,
    )
    await channel.commit(started, also=partial(_store, job=job, opening=opening))


def _store(connection: Connection, job: Job, opening: Opening) -> None:
    connection.execute("UPDATE turns SET status = 'running' WHERE turn_id = ?", (job.turn_id,))
    if opening.supersede is not None:
        transcript.supersede(connection, job.task_id, opening.supersede)
    if opening.adds:
        blocks: tuple[Block, ...] = (TextBlock(job.request.message), *job.request.media)
        message = ChatMessage("user", blocks)
        transcript.add_as(connection, opening.message_id, job.task_id, job.turn_id, message)
