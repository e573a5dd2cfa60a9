"""Finished turns in a brain, and a study over them."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec

from september.brain.learning.draft import Draft, of_turn
from september.brain.learning.extraction import BY_RULES, Extracted, Extractor
from september.brain.learning.material import Turn
from september.brain.learning.study import Study
from september.brain.store.connection import Connection
from september.brain.store.database import Database
from tests.brain.memory.conftest import Mind, mind_in

BEGAN = 1_700_000_000_000
"""When the first turn was (ms)."""


def finish_turn(
    connection: Connection,
    number: int,
    asked: str,
    answered: str = "Noted.",
    task: str = "task",
    at: int | None = None,
) -> str:
    """Write a finished turn, as the Engine does; return its trajectory's id."""
    at = BEGAN + number * 60_000 if at is None else at
    connection.execute(
        "INSERT INTO conversations (task_id, agent, title, created_at, updated_at)"
        " VALUES (?1, 'assistant', 't', ?2, ?2) ON CONFLICT DO UPDATE SET updated_at = ?2",
        (task, at),
    )
    turn = f"turn-{task}-{number}"
    connection.execute(
        "INSERT INTO turns (turn_id, task_id, status, agent, request, trace_id, created_at,"
        " ended_at) VALUES (?, ?, 'completed', 'assistant', '{}', ?, ?, ?)",
        (turn, task, f"{number:032x}", at, at),
    )
    for role, text in (("user", asked), ("assistant", answered)):
        blocks = msgspec.json.encode([{"type": "text", "text": text}]).decode()
        connection.execute(
            "INSERT INTO messages (message_id, task_id, turn_id, role, blocks, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (f"msg-{turn}-{role}", task, turn, role, blocks, at),
        )
    connection.execute(
        "INSERT INTO trajectories (trajectory_id, task_id, turn_id, outcome, summary, created_at)"
        " VALUES (?, ?, ?, 'completed', ?, ?)",
        (f"trajectory-{task}-{number}", task, turn, asked, at),
    )
    return f"trajectory-{task}-{number}"


async def talked(database: Database, *asked: str, task: str = "task", first: int = 1) -> None:
    """Finish a turn for each message."""
    for number, text in enumerate(asked, first):
        await database.write(partial(finish_turn, number=number, asked=text, task=task))


class ByRules(Extractor):
    """No model at all; or, with drafts of its own, one that says what the test wants."""

    def __init__(self, *drafts: Draft) -> None:
        self._drafts = drafts

    async def extract(self, turns: Sequence[Turn]) -> Extracted:
        if self._drafts:
            return Extracted(self._drafts[: len(turns)], "a model")
        return Extracted(tuple(of_turn(turn) for turn in turns), BY_RULES)


def study_of(mind: Mind, extractor: Extractor | None = None) -> Study:
    """A study over this mind."""
    return Study(mind.database, mind.memory, extractor or ByRules(), lambda text: text)


@asynccontextmanager
async def studying(
    path: Path, extractor: Extractor | None = None
) -> AsyncGenerator[tuple[Mind, Study]]:
    """A mind and a study over it."""
    async with mind_in(path) as mind:
        yield mind, study_of(mind, extractor)
