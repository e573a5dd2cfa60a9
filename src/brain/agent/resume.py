"""Taking a turn up again: the tool calls that were open when the Engine stopped.

What waited for a person goes on waiting. A call that had started may have had its effect, so it is
not run a second time, unless its tool says that it may be.
"""

from functools import partial
from typing import Final

from ...actors import ActorRef
from ..hitl import ApprovalMessage, Withdraw
from ..store.database import Database
from . import transcript
from .job import Job
from .tools import Toolbox, ToolOutput
from .transcript import StoredCall

INTERRUPTED: Final = ToolOutput(
    "the Engine stopped while this ran; it may or may not have had its effect", "interrupted"
)


async def calls_to_resume(database: Database, turn_id: str) -> tuple[StoredCall, ...]:
    """The turn's calls whose results are not in the transcript yet, in call order."""
    return await database.read(partial(transcript.open_calls, turn_id=turn_id))


def interrupted(call: StoredCall, tools: Toolbox) -> bool:
    """Whether the Engine stopped in the middle of what must not be done twice."""
    tool = tools.get(call.tool)
    return call.status == "started" and not (tool is not None and tool.repeatable)


async def forget_questions(
    approvals: ActorRef[ApprovalMessage], job: Job, call: StoredCall
) -> None:
    """Withdraw what an interrupted call had asked: nobody waits for the answer any more."""
    await approvals.call(Withdraw(*job.question(call.tool_call_id)))
