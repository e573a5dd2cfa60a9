"""A turn's job: which turn it is, what it is asked, and its seat among the running turns."""

import re
from hashlib import sha256
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from ..catalog import Agent, Catalog
from ..channels.events import SubAgent
from ..herald.route import Role
from .request import TurnRequest

_PLAIN: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


class Seat(Protocol):
    """A turn's right to run. A turn that waits for a person gives it up meanwhile."""

    async def take(self) -> None:
        """Wait until this turn may run."""
        ...

    async def ahead(self) -> int:
        """How many turns must make room first; 0 when this one may run."""
        ...

    def leave(self) -> None:
        """Let the next turn run; doing it twice is the same as doing it once."""
        ...


class Nested(Struct, frozen=True):
    """Where a sub-agent's job stands: the turn whose stream it is in, its folder, and how deep.

    `path` are the ids of the tool calls that lead to it, outermost first.
    """

    task_id: str
    turn_id: str
    folder: str
    path: tuple[str, ...]
    who: SubAgent


class Job(Struct, frozen=True):
    """One turn. `resumed` says that it was open when the Engine started and is taken up again.

    `catalog` was in force when the turn began, and is for as long as it runs. A sub-agent's job
    is `nested`, and has limits of its own; None are those of all turns.
    """

    task_id: str
    turn_id: str
    agent: Agent
    catalog: Catalog
    request: TurnRequest
    seat: Seat
    resumed: bool = False
    role: Role = "main"
    max_iterations: int | None = None
    output_tokens: int | None = None
    nested: Nested | None = None

    @property
    def depth(self) -> int:
        """How many agents stand above: 0 for the agent that the user speaks to."""
        return len(self.nested.path) if self.nested else 0

    def taken_up(self) -> "Job":
        """The same job, going on where it was."""
        return replace(self, resumed=True)

    def question(self, tool_call_id: str) -> tuple[str, str, str]:
        """Task, turn and id under which a call of this job asks its person.

        A sub-agent asks in the name of the turn it is in; Withdraw knows the form of the id.
        """
        if self.nested is None:
            return self.task_id, self.turn_id, tool_call_id
        asked = "#".join((*self.nested.path, tool_call_id))
        return self.nested.task_id, self.nested.turn_id, asked

    @property
    def folder(self) -> str:
        """The task's folder name; a sub-agent works in that of the task that called it."""
        return self.nested.folder if self.nested else folder_of(self.task_id)


def folder_of(task_id: str) -> str:
    """A task's folder name: its id where that is a plain name, else a digest of it."""
    if _PLAIN.fullmatch(task_id):
        return task_id
    return "task-" + sha256(task_id.encode()).hexdigest()[:32]
