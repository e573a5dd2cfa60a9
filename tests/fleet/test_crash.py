"""The orchestrator is killed at every step of every operation; its successor puts all in order."""

import os
import signal
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from september.fleet import audit, registry
from september.fleet.backends.process import Process, processes_in
from september.fleet.backends.subprocess import SubprocessBackend
from september.fleet.engine_client import open_client
from september.fleet.instances import Status
from september.fleet.rounds import GoRound
from september.fleet.store.database import Session
from september.fleet.tree import Fleet, running_fleet

from .crash_child import TOY
from .stage import settings

OUTCOMES = {
    "provision": (None, "running"),
    "stop": ("running", "stopped"),
    "start": ("stopped", "running"),
    "sleep": ("running", "sleeping"),
    "wake": ("sleeping", "running"),
    "rotate_key": ("running", "running"),
    "upgrade": ("running", "running"),
    "destroy": ("running", None),
}
"""Where each operation sets out from and where it leads; None is no row at all."""

MOST_STEPS = 40


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "engines"
    for folder in (tmp_path / "engines").glob("*"):
        for process in processes_in(folder):
            os.kill(process.pid, signal.SIGKILL)


@pytest.mark.crash
@pytest.mark.timeout(300)
@pytest.mark.parametrize("operation", OUTCOMES)
async def test_killed_at_every_step(operation: str, database_url: str, root: Path) -> None:
    for step in range(1, MOST_STEPS):
        said = await _die(database_url, root, operation, step)
        await _recover(database_url, root, operation, finished=said == b"done\n")
        if said:
            assert step > 3, "hardly a step was counted"
            return
    raise AssertionError("it never ended by itself")


async def _die(url: str, root: Path, operation: str, step: int) -> bytes:
    program = [sys.executable, "-m", "tests.fleet.crash_child", url, str(root), operation]
    log = root.parent / "child.log"
    with log.open("ab") as errors:
        ended = await trio.run_process(
            [*program, str(step)], capture_stdout=True, stderr=errors, check=False
        )
    assert ended.returncode == -signal.SIGKILL, log.read_text()[-3000:]
    return ended.stdout[-5:] if ended.stdout.endswith(b"done\n") else b""


async def _recover(url: str, root: Path, operation: str, *, finished: bool) -> None:
    """Let the successor make one round; compare; and clear the stage."""
    async with open_client() as client:
        make = SubprocessBackend(root, {}, program=TOY)
        async with running_fleet(settings(url), lambda _: make, client, spread=0) as fleet:
            with trio.fail_after(20):
                await fleet.reconcile.call(GoRound())
            await _agrees(fleet, root, operation, finished=finished)
            await fleet.resources.database.write(_forget)
            await fleet.reconcile.call(GoRound())
            assert not _processes(root)
            assert not os.listdir(root)
            await fleet.resources.database.write(_forget)  # what the second round wrote down


async def _agrees(fleet: Fleet, root: Path, operation: str, *, finished: bool) -> None:
    database = fleet.resources.database
    rows = await database.read(registry.engines)
    before, after = OUTCOMES[operation]
    assert len(rows) <= 1
    status = rows[0].status.value if rows else None
    assert status in ({after} if finished else {before, after})
    assert all(row.operation is None and row.claimed_by is None for row in rows)
    ports = await database.read(_ports)
    assert ports == {row.id: row.port for row in rows}
    assert len(_processes(root)) == (status == Status.RUNNING), "an instance too many or too few"
    entries = await database.read(lambda session: audit.entries(session, limit=1000))
    done = [one.entry.action for one in entries].count(operation)
    assert done <= 1
    if before != after:
        assert done == (status == after), (status, [one.entry.action for one in entries])
    for row in rows:
        if row.status is Status.RUNNING:
            key = fleet.resources.vault.open(row.engine_key_enc)
            client = fleet.resources.client
            await client.rotate(row.url or "", key, row.engine_key_hash, 0)
            assert row.next_key_enc is None and row.next_image is None
            assert row.image == ("e:2" if operation == "upgrade" and done else row.image)
        with sqlite3.connect(root / row.id.hex / "brain.sqlite") as brain:
            assert brain.execute("SELECT count(*) >= 1 FROM boots").fetchone() == (1,)
        brain.close()


def _processes(root: Path) -> list[Process]:
    return [process for folder in root.iterdir() for process in processes_in(folder)]


async def _ports(session: Session) -> dict[object, object]:
    rows = await session.rows("SELECT engine_id, port FROM port_allocations")
    return {row["engine_id"]: row["port"] for row in rows}


async def _forget(session: Session) -> None:
    """Remove the product by hand; its instances are then nobody's."""
    await session.execute("DELETE FROM products")
    await session.execute("DELETE FROM audit_log")
