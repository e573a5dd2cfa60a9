"""A turn's job: which turn it is, what it is asked, and its seat among the running turns."""

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol

from ..catalog import Agent, Catalog
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


@dataclass(frozen=True, slots=True)
class Job:
    """One turn. `resumed` says that it was open when the Engine started and waits for a person.

    `catalog` was in force when the turn began, and is for as long as it runs.
    """

    task_id: str
    turn_id: str
    agent: Agent
    catalog: Catalog
    request: TurnRequest
    seat: Seat
    resumed: bool = False

    @property
    def folder(self) -> str:
        """The task's folder name."""
        return folder_of(self.task_id)


def folder_of(task_id: str) -> str:
    """A task's folder name: its id where that is a plain name, else a digest of it."""
    if _PLAIN.fullmatch(task_id):
        return task_id
    return "task-" + sha256(task_id.encode()).hexdigest()[:32]
