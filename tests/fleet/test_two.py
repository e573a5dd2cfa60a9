"""Two orchestrators on one database, as processes; the leader is killed with its hands full."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import trio

from september.fleet import audit, registry
from september.fleet.backends.process import processes_in
from september.fleet.store.database import Database

from .api import ADMIN
from .lineage import KILLED
from .stage import MASTER

HEALTH_INTERVAL_S = 6
USERS = [f"user-{number}" for number in range(8)]


@dataclass(frozen=True)
class Orchestrator:
    """One of them, and where it answers."""

    process: trio.Process
    url: str

    async def leads(self, http: httpx2.AsyncClient) -> bool:
        try:
            answer = await http.get(f"{self.url}/health")
        except httpx2.TransportError:
            return False
        return bool(answer.status_code == 200 and answer.json()["leader"])


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "data"
    for folder in (tmp_path / "data" / "engines").glob("*"):
        for process in processes_in(folder):
            os.kill(process.pid, signal.SIGKILL)


@asynccontextmanager
async def running(url: str, data: Path, ports: int) -> AsyncGenerator[Orchestrator]:
    """An orchestrator as a process; killed at the end."""
    env = {
        **os.environ,
        "ORCH_DATABASE_URL": url,
        "ORCH_DATA_DIR": str(data),
        "ORCH_MASTER_KEY": MASTER,
        "ORCH_ADMIN_KEY": ADMIN["X-Admin-Key"],
        "ORCH_PORT": "0",
        "ORCH_PORT_MIN": str(ports),
        "ORCH_PORT_MAX": str(ports + 50),
        "ORCH_ENGINE_BACKEND": "subprocess",
        "ORCH_HEALTH_CHECK_INTERVAL_S": str(HEALTH_INTERVAL_S),
        "ORCH_RECONCILE_INTERVAL_S": "1",
        "ORCH_LOG_LEVEL": "ERROR",
    }
    KILLED.add(url)
    program = [sys.executable, "-m", "tests.fleet.orchestrator_child"]
    process = await trio.lowlevel.open_process(program, env=env, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        said = b""
        with trio.fail_after(30):
            while b"\n" not in said:
                piece = await process.stdout.receive_some()
                assert piece, "it ended"
                said += piece
        yield Orchestrator(process, said.decode().strip())
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()


@pytest.mark.crash
async def test_a_killed_leader_is_replaced_and_nothing_is_doubled_or_lost(
    database: Database, database_url: str, data: Path
) -> None:
    ports = 41000 + os.getpid() % 500 * 10
    async with (
        running(database_url, data, ports) as one,
        running(database_url, data, ports) as two,
        httpx2.AsyncClient(timeout=30) as http,
    ):
        leader = await _only_leader(http, one, two)
        other = two if leader is one else one
        key = await _register(http, leader.url)
        admitted = set[str]()
        async with trio.open_nursery() as nursery:
            for user in USERS:
                nursery.start_soon(_insist, http, (leader.url, other.url), user, key, admitted)
            await _begun(database)
            leader.process.send_signal(signal.SIGKILL)
            with trio.fail_after(HEALTH_INTERVAL_S):
                while not await other.leads(http):  # noqa: ASYNC110  it is another process
                    await trio.sleep(0.05)
        assert admitted == set(USERS)
        await _settled(database)
        rows = await database.read(registry.engines)
        assert {row.user_id for row in rows} == set(USERS) and len(rows) == len(USERS)
        assert len({row.port for row in rows}) == len(USERS)
        for row in rows:
            assert row.status.value == "running"
            assert len(list(processes_in(data / "engines" / row.id.hex))) == 1
        folders = [folder for folder in (data / "engines").iterdir() if folder.is_dir()]
        assert {folder.name for folder in folders} == {row.id.hex for row in rows}
        entries = await database.read(lambda session: audit.entries(session, limit=1000))
        done = [one.entry.user_id for one in entries if one.entry.action == "provision"]
        assert sorted(filter(None, done)) == USERS, "one provision of each is written down"


async def _only_leader(http: httpx2.AsyncClient, *both: Orchestrator) -> Orchestrator:
    with trio.fail_after(10):
        while True:
            leading = [one for one in both if await one.leads(http)]
            assert len(leading) < 2, "two lead"
            if leading:
                return leading[0]
            await trio.sleep(0.05)


async def _register(http: httpx2.AsyncClient, url: str) -> dict[str, str]:
    body = {"slug": "two", "display_name": "Two"}
    answer = await http.post(f"{url}/products/register", json=body, headers=ADMIN)
    return {"X-Platform-Key": answer.json()["platform_api_key"]}


async def _insist(
    http: httpx2.AsyncClient,
    urls: tuple[str, str],
    user: str,
    key: dict[str, str],
    admitted: set[str],
) -> None:
    """Ask one and then the other for an Engine until there is one, as a client does."""
    with trio.fail_after(60):
        for attempt in range(600):
            url = urls[(attempt + int(user[-1])) % 2]
            try:
                answer = await http.post(
                    f"{url}/engines/{user}/admit", json={"auto_provision": True}, headers=key
                )
            except httpx2.TransportError:
                continue
            if answer.status_code == 200 and answer.json()["admitted"]:
                admitted.add(user)
                return
            await trio.sleep(0.1)


async def _begun(database: Database) -> None:
    """Wait until several provisions are under way."""
    with trio.fail_after(20):
        while True:
            rows = await database.read(registry.engines)
            if sum(row.operation is not None for row in rows) >= 2:
                return
            await trio.sleep(0.01)


async def _settled(database: Database) -> None:
    with trio.fail_after(30):
        while True:
            rows = await database.read(registry.engines)
            if all(row.operation is None and row.status.value == "running" for row in rows):
                return
            await trio.sleep(0.1)
