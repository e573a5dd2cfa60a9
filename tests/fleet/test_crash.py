"""The orchestrator is killed at every step of every operation; its successor puts all in order."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from september.actors import Trace
from september.fleet import audit, registry
from september.fleet.backends.process import Process, processes_in
from september.fleet.engine_client import open_client
from september.fleet.instances import Status
from september.fleet.rounds import GoRound
from september.fleet.store.database import Session
from september.fleet.tree import Fleet, Pace, running_fleet

from .crash_child import Toys
from .stage import settings

OUTCOMES = {
    "provision": (None, "running"),
    "stop": ("running", "stopped"),
    "start": ("stopped", "running"),
    "sleep": ("running", "sleeping"),
    "wake": ("sleeping", "running"),
    "rotate_key": ("running", "running"),
    "upgrade": ("running", "running"),
    "upgrade_back": ("running", "running"),
    "auto_restart": ("running", "running"),
    "restore": ("running", "running"),
    "destroy": ("running", None),
}
"""Where each operation sets out from and where it leads; None is no row at all."""

MOST_STEPS = 40
LEAST_STEPS = 3

BY = {name: "crash" if name in ("provision", "wake") else "t" for name in OUTCOMES}
"""Whoever carries it on, the audit names who asked for it."""

ACTIONS = {"upgrade_back": "upgrade", "auto_restart": "auto_restart_success"}
"""What is written down of an operation, where that is not its name."""


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
    async with _mortals(database_url, root, operation) as die_at:
        for step in range(1, MOST_STEPS):
            end = await die_at(step)
            await _recover(database_url, root, operation, finished=end == "done")
            if end == "done":
                assert step > LEAST_STEPS, "hardly a step was counted"
                return
    raise AssertionError("it never ended by itself")


@asynccontextmanager
async def _mortals(
    url: str, root: Path, operation: str
) -> AsyncGenerator[Callable[[int], Awaitable[str]]]:
    """Orchestrators that die at the step one says; how each ended."""
    program = [sys.executable, "-m", "tests.fleet.crash_child", url, str(root), operation]
    log = root.parent / "child.log"
    with log.open("ab") as errors:
        process = await trio.lowlevel.open_process(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )
    assert process.stdin is not None and process.stdout is not None

    async def die_at(step: int) -> str:
        assert process.stdin is not None and process.stdout is not None
        await process.stdin.send_all(b"%d\n" % step)
        said = b""
        while not said.endswith(b"\n"):
            piece = await process.stdout.receive_some()
            assert piece, log.read_text()[-3000:]
            said += piece
        end = said.decode().strip()
        assert end in ("killed", "done"), log.read_text()[-3000:]
        return end

    try:
        yield die_at
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.stdin.aclose()
            await process.stdout.aclose()
            await process.wait()


async def _recover(url: str, root: Path, operation: str, *, finished: bool) -> None:
    """Let the successor make one round; compare; and clear the stage."""
    async with open_client() as client:
        make, trace = Toys(root), Trace()
        patient = settings(url, orch_boot_timeout_s=20)  # a toy on a busy machine
        async with running_fleet(
            patient, lambda _: make, client, trace=trace, pace=Pace(spread=0, grace=0)
        ) as fleet:
            with trio.fail_after(40):
                await fleet.reconcile.call(GoRound())
                await fleet.healing.call(GoRound())  # what it found failed, it restarts
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
    action = ACTIONS.get(operation, operation)
    actors = [one.entry.actor for one in entries if one.entry.action == action]
    assert set(actors) <= {audit.SYSTEM if operation == "auto_restart" else BY[operation]}
    done = len(actors)
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
            spoilt = "SELECT count(*) FROM sqlite_master WHERE name = 'spoilt'"
            untouched = operation == "restore" and not done
            assert brain.execute(spoilt).fetchone() == (int(untouched),), "the wrong brain"
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
