"""kill -9 while memory is written and embedded: nothing answered is lost, and indexes agree."""

import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from september.brain.memory import integrity
from tests.brain.store.killing import killed_after

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


@pytest.mark.crash
async def test_m6_every_memory_gets_its_vector_whenever_the_process_was_killed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "brain.sqlite"
    answered: set[str] = set()
    for life, answers in enumerate([1, 20, 300]):
        answered.update(killed_after(WRITE, answers, path, life))
    async with mind_in(path) as mind:
        assert (await mind.memory.settled(60)).pending == 0
        stored = await mind.database.read(
            lambda db: {row[0] for row in db.execute("SELECT id FROM episodes")}
        )
        assert answered <= stored
        found = await mind.database.read(partial(integrity.check, space=mind.embedder.name))
        assert all(one.sound for one in found) and found[0].rows == len(stored)


EVERY_STATEMENT = """
import os, shutil, signal, sys
from pathlib import Path
import apsw, numpy as np
from september.brain.memory import integrity, queue
from september.brain.memory.episodes import episode_of, write_many
from september.brain.memory.forget import forget
from september.brain.memory.knowledge import fact_of, tell
from september.brain.memory.social import write_edge, write_node
from september.brain.store.session import Role, configure

base = Path(sys.argv[1])
one, two = (episode_of("k", "", f"said {n}", now=1, occurred_at=n) for n in (1, 2))

def embedded(db):
    while (batch := queue.next_batch(db, 9)) is not None:
        vectors = {item: np.eye(64, dtype="<f4")[item].tobytes() for item in batch.texts}
        queue.settle(db, batch, queue.enter_space(db, "s"), vectors)

STEPS = [
    lambda db: write_many(db, (one, two)),
    lambda db: tell(db, fact_of("Ana", "lives in Rome", now=1)),
    lambda db: write_edge(db, *(write_node(db, n, now=1) for n in ("Ana", "Bo")), "knows", now=1),
    embedded,
    lambda db: tell(db, fact_of("Ana", "lives in Oslo", now=2)),
    lambda db: forget(db, one.id, 3),
    embedded,
]

def opened(path):
    db = apsw.Connection(str(path))
    configure(db, Role.WRITER)
    return db

def lived(path, fatal):
    left = [fatal]
    def trace(cursor, statement, bindings):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return True
    db = opened(path)
    db.exec_trace = trace
    for step in STEPS:
        db.execute("BEGIN IMMEDIATE")
        step(db)
        db.execute("COMMIT")
    os._exit(0)

fatal = 0
while True:
    fatal += 1
    path = base.with_name("crashed.sqlite")
    for old in base.parent.glob("crashed.sqlite*"):
        old.unlink()
    shutil.copy(base, path)
    if (child := os.fork()) == 0:
        lived(path, fatal)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    db = opened(path)
    found = integrity.check(db, "s")
    in_force = db.execute("SELECT id FROM knowledge_store WHERE valid_until IS NULL").fetchall()
    sound = db.execute("PRAGMA integrity_check").fetchone()
    db.close()
    assert sound == ("ok",) and all(one.sound for one in found), (fatal, found)
    assert len(in_force) <= 1, fatal
    if ended == 0:
        print(fatal - 1, [one.rows for one in found], [one.waiting for one in found])
        break
    assert ended == -signal.SIGKILL, ended
"""


@pytest.mark.crash
async def test_m6_killed_before_any_statement_rows_words_and_vectors_agree(tmp_path: Path) -> None:
    base = tmp_path / "brain.sqlite"
    async with mind_in(base):
        pass
    command = [sys.executable, "-c", EVERY_STATEMENT, str(base)]
    with trio.fail_after(120):
        ran = await trio.run_process(command, capture_stdout=True)
    statements, rows = ran.stdout.decode().split(" ", 1)
    assert int(statements) > 40 and rows.strip() == "[1, 2, 2] [0, 0, 0]"
