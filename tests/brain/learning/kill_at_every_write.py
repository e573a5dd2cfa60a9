"""Learn from copies of a brain, each killed with SIGKILL at another write of the pass.

Usage: kill_at_every_write.py FOLDER. FOLDER/base.sqlite is copied to FOLDER/0.sqlite and so on;
the n-th is killed at write n, alternately before it and after its commit, until one gets through.
Then each is learned from again, by a process that is not killed. Prints how many there were.
What is wrapped calls the Engine's own code: nothing is replaced.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from september.brain.store.connection import Connection
from september.brain.store.database import Database
from tests.brain.learning.stage import studying

write = Database.write


def doom(number: int) -> None:
    """Have this process killed at write `number // 2`: before it, or for an odd number after it."""
    seen = 0

    async def doomed(self: Database, work: Callable[[Connection], Any]) -> Any:
        nonlocal seen
        mine, seen = seen == number // 2, seen + 1
        if mine and number % 2 == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = await write(self, work)
        if mine:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(Database, "write", doomed)  # noqa: B010  a method is not assigned to


async def learn(brain: Path) -> None:
    """Learn all there is, and wait until it is embedded."""
    async with studying(brain) as (mind, study):
        await study.learn("task")
        await mind.memory.settled(30)


def survives(brain: Path, number: int | None) -> bool:
    """Learn in a child that is killed at `number`."""
    child = os.fork()
    if child == 0:
        if number is not None:
            doom(number)
        trio.run(learn, brain)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        assert os.waitstatus_to_exitcode(status) == 0
    return not os.WIFSIGNALED(status)


def main(folder: Path) -> None:
    """Kill at every write, then learn again."""
    number = 0
    while True:
        brain = folder / f"{number}.sqlite"
        shutil.copy(folder / "base.sqlite", brain)
        through = survives(brain, number)
        assert survives(brain, None)
        if through:
            break
        number += 1
    sys.stdout.write(f"{number}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
