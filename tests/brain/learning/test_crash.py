"""A learning pass that is killed at any write, and taken up again, writes the same rows."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from september.brain.herald.embedder_local import LocalEmbedder
from september.brain.memory import integrity
from september.brain.memory.knowledge import fact_of, tell
from tests.brain.memory.conftest import mind_in
from tests.e2e.brain import intact, opened, rows

from .stage import BEGAN, talked

KILLER = Path(__file__).with_name("kill_at_every_write.py")

WRITTEN = {
    "episodes": "id, key, description, value, source, occurred_at, created_at, forgotten_at,"
    " trajectory_id",
    "knowledge_store": "id, subject, content, type, round(confidence, 6), source, valid_from,"
    " valid_until, superseded_by, created_at, confirmed_at, forgotten_at, trajectory_id",
    "knowledge_sources": "knowledge_id, source, added_at",
    "social_graph_nodes": "id, name, kind, description, source, created_at, forgotten_at",
    "social_graph_edges": "id, from_id, to_id, relation, confidence, valid_from, valid_until",
    "soul_entries": "id, part, text, source, created_at, retired_at",
    "trajectories": "trajectory_id, learned_at IS NOT NULL",
    "learning_passes": "task_id, status, extractor, json_extract(report, '$.counts')",
    "embedding_queue": "store, item",
}
"""Everything a pass writes but the ids of passes and traces, and when it ran."""


def written(brain: Path) -> dict[str, list[str]]:
    return {
        table: sorted(map(repr, rows(brain, f"SELECT {columns} FROM {table}")))
        for table, columns in WRITTEN.items()
    }


@pytest.mark.crash
async def test_m2_m6_a_pass_killed_at_any_write_and_run_again_writes_the_same_rows(
    tmp_path: Path,
) -> None:
    base = tmp_path / "base.sqlite"
    async with mind_in(base) as mind:
        for content in ("lives in Rome", "likes hiking"):
            fact = fact_of("user", content, now=BEGAN)
            await mind.memory.write(partial(tell, fact=fact))
        await mind.memory.settled(30)
        await talked(
            mind.database,
            "I moved to Lisbon. I love hiking. My boss is Eva.",
            "My boss is Tom. Always answer in German.",
        )
    killed = kill_at_every_write(tmp_path)
    assert killed > 12, "two kills for each write of the pass and of the indexer"
    whole = written(tmp_path / f"{killed}.sqlite")
    assert any("Lisbon" in str(row) for row in whole["knowledge_store"])
    for number in range(killed):
        brain = tmp_path / f"{number}.sqlite"
        assert intact(brain)
        assert written(brain) == whole, f"killed at {number}"
        with opened(brain) as connection:
            found = integrity.check(connection, LocalEmbedder().name)
        assert all(one.sound and not one.waiting for one in found), f"killed at {number}"


def kill_at_every_write(folder: Path) -> int:
    """How often a pass could be killed."""
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, str(KILLER), str(folder)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    return int(done.stdout)
