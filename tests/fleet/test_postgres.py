"""What becomes of an orchestrator when its PostgreSQL fails it; on the wheel's and on Debian's."""

import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import cycle
from pathlib import Path

import pytest
import trio

from september.errors import SeptemberError
from september.fleet import audit, registry
from september.fleet.discovery import Admission, Provision
from september.fleet.instances import Engine, Operation
from september.fleet.store.database import Database, Session
from september.fleet.store.embedded import binaries
from september.fleet.store.migrate import available, migrate

from .conftest import Postgres, fresh_database, one, serving
from .stage import MASTER, Stage, eventually, staged

DEBIAN = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
USERS = ("ada", "bob", "eve")


@pytest.fixture(scope="module", params=["wheel", "debian"])
def server(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """A server for these tests alone, to be stopped and started again."""
    if request.param == "debian" and DEBIAN is None:
        pytest.skip("no PostgreSQL in /usr/lib/postgresql: `apt-get install postgresql` brings it")
    programs = DEBIAN if request.param == "debian" and DEBIAN is not None else binaries()
    with serving(programs) as made:
        yield made


@pytest.fixture
async def url(loop: None, server: Postgres) -> AsyncIterator[str]:
    """A fresh database on it."""
    await trio.to_thread.run_sync(server.cluster.start)  # a test before may have left it stopped
    async with fresh_database(server) as made:
        yield made


class Load:
    """Users whose Engines are made, stopped, started, rotated and destroyed all the time."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.done = 0
        self.refusals: set[str] = set()
        self.over = False

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for user in USERS:
                nursery.start_soon(self._use, user)

    async def _use(self, user: str) -> None:
        steps = cycle(Operation(name) for name in ("stop", "start", "rotate_key", "destroy"))
        while not self.over:
            try:
                engine = await self._one_of(user)
                outcome = await self._stage.perform(engine, next(steps))
                if isinstance(outcome, SeptemberError):
                    raise outcome
                self.done += 1
            except SeptemberError as refusal:
                self.refusals.add(refusal.code)
                await trio.sleep(0.02)

    async def _one_of(self, user: str) -> Engine:
        find = self._stage.fleet.resources.database.read
        rows = [row for row in await find(registry.engines) if row.user_id == user]
        if rows:
            return rows[0]
        answer = await self._stage.fleet.discovery.call(Provision(self._stage.product, user, None))
        if isinstance(answer, SeptemberError):
            raise answer
        return answer


EXPECTED = {
    "DATABASE_UNAVAILABLE",
    "ENGINE_BUSY",
    "ENGINE_NOT_FOUND",
    "ENGINE_ALREADY_EXISTS",
    "ENGINE_ALREADY_RUNNING",
    "ENGINE_NOT_RUNNING",
}
"""What a user may hear while the database comes and goes; never INTERNAL, never a wrong key."""


async def under_load(stage: Stage, trouble: Callable[[Load], Awaitable[None]]) -> None:
    """Make trouble while there is load; then everything has to agree, and work."""
    load = Load(stage)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load.run)
        await trouble(load)
        before = load.done
        await eventually(lambda: _more(load, before + 6), within=30)
        load.over = True
    assert "DATABASE_UNAVAILABLE" in load.refusals, "nobody noticed the trouble"
    assert load.refusals <= EXPECTED
    await stage.reconcile()
    await stage.agrees()
    await _audit_tells_one_story(stage)
    admitted = await stage.admit("new", provision=True)
    assert isinstance(admitted, Admission) and admitted.engine is not None


async def _more(load: Load, wanted: int) -> bool:
    return load.done >= wanted


async def _audit_tells_one_story(stage: Stage) -> None:
    """Each Engine was provisioned once, first, and destroyed at most once, last."""
    read = stage.fleet.resources.database.read
    entries = await read(lambda session: audit.entries(session, limit=100_000))
    stories: dict[object, list[str]] = {}
    for recorded in reversed(entries):
        entry = recorded.entry
        if entry.metadata.get("outcome") != "failed" and entry.action != "health_check":
            stories.setdefault(entry.engine_id, []).append(entry.action)
    assert len(stories) >= len(USERS) and len(entries) > 10
    alive = {row.id for row in await read(registry.engines)}
    for engine_id, actions in stories.items():
        if engine_id is None:
            continue
        assert actions[0] == "provision" and actions.count("provision") == 1, actions
        assert actions.count("destroy") == (engine_id not in alive), actions
        assert "destroy" not in actions[:-1], actions


async def test_connections_that_die_in_mid_transaction_cost_nobody_an_engine(url: str) -> None:
    async def trouble(load: Load) -> None:
        killer = Database(url, pool_min=1, pool_max=1)
        await killer.open()
        killed = 0
        with trio.fail_after(60):
            while killed < 20 or "DATABASE_UNAVAILABLE" not in load.refusals:
                killed += int(str(await killer.read(_kill_one_in_a_transaction)))
                await trio.sleep(0.005)
        await killer.close()

    async with staged(url) as stage:
        await under_load(stage, trouble)


async def _kill_one_in_a_transaction(session: Session) -> object:
    return await session.value(
        "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND xact_start IS NOT NULL LIMIT 1) AS victim"
    )


@pytest.mark.parametrize("mode", ["immediate", "fast"])
async def test_a_server_that_restarts_under_load_is_found_again(
    server: Postgres, url: str, mode: str
) -> None:
    async def trouble(load: Load) -> None:
        await eventually(lambda: _more(load, 3), within=20)
        await trio.to_thread.run_sync(server.cluster.stop, mode)

        async def refused() -> bool:
            return "DATABASE_UNAVAILABLE" in load.refusals

        await eventually(refused, within=20)
        assert not stage.fleet.resources.standing.leads
        await trio.to_thread.run_sync(server.cluster.start)

    async with staged(url) as stage:
        await under_load(stage, trouble)

        async def leads() -> bool:
            return stage.fleet.resources.standing.leads

        await eventually(leads)


async def test_a_failed_migration_keeps_the_old_schema_and_the_service_down(url: str) -> None:
    first, second = available()[:2]
    in_the_way = "traces"
    assert f"CREATE TABLE {in_the_way} " in second.sql
    async with Database(url).dedicated(lambda: None) as connection:
        await migrate(connection, [first])
        await one(connection, f"CREATE TABLE {in_the_way} (of_somebody_else INT)")
        tried = await _boot(url)
        assert tried.returncode == 2
        said = tried.stderr.decode()
        assert f"{second} failed and was undone" in said and in_the_way in said
        assert "start again" in said, "the remedy"
        assert await one(connection, "SELECT max(version) FROM schema_migrations") == 1
        assert await one(connection, "SELECT to_regclass('trace_rows')") is None
        await one(connection, f"DROP TABLE {in_the_way}")
        assert len(await migrate(connection)) == len(available()) - 1


async def _boot(url: str) -> "subprocess.CompletedProcess[bytes]":
    env = {
        "ORCH_DATABASE_URL": url,
        "ORCH_MASTER_KEY": MASTER,
        "ORCH_ADMIN_KEY": "admin-key",
        "ORCH_PORT": "0",
        "ORCH_ENGINE_BACKEND": "subprocess",
        "PATH": "/usr/bin",
    }
    with trio.fail_after(60):
        return await trio.run_process(
            [sys.executable, "-P", "-m", "september", "orchestrator"],
            env=env,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
