"""kill -9 while memory is written and embedded: nothing answered is lost, and indexes agree."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from september.brain.memory import integrity

from .conftest import mind_in

WRITE = """
import sys, trio
from functools import partial
from pathlib import Path
from september.brain.memory.episodes import episode_of, write_many
from tests.brain.memory.conftest import mind_in

async def main():
    async with mind_in(Path(sys.argv[1])) as mind:
        number = 0
        while True:
            said = f"{sys.argv[2]} said {number}"
            one = episode_of("k", "", said, now=1, occurred_at=number)
            await mind.memory.write(partial(write_many, episodes=(one,)))
            print(one.id, flush=True)
            number += 1

trio.run(main)
"""


def killed_after(answers: int, brain: Path, life: int) -> list[str]:
    command = [sys.executable, "-c", WRITE, str(brain), str(life)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(answers)]
        process.kill()
        told += process.stdout.readlines()
    return [line.strip() for line in told if line.endswith("\n")]


@pytest.mark.crash
async def test_m6_every_memory_gets_its_vector_whenever_the_process_was_killed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "brain.sqlite"
    answered: set[str] = set()
    for life, answers in enumerate([1, 20, 300]):
        answered.update(killed_after(answers, path, life))
    async with mind_in(path) as mind:
        assert (await mind.memory.settled(60)).pending == 0
        stored = await mind.database.read(
            lambda db: {row[0] for row in db.execute("SELECT id FROM episodes")}
        )
        assert answered <= stored
        found = await mind.database.read(partial(integrity.check, space=mind.embedder.name))
        assert all(one.sound for one in found) and found[0].rows == len(stored)
