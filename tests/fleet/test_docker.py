"""Engines in containers of a real Docker daemon: made, told, put to sleep, killed, healed.

Needs a daemon and the project's own image; `docker build --target engine -t september-engine .`
"""

import os
import shutil
import signal
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from uuid import UUID

import httpx2
import pytest
import trio

from september.config import Secret
from september.fleet import registry
from september.fleet.backends.choice import make_backend
from september.fleet.discovery import Admit, Provision
from september.fleet.engine_client import open_client
from september.fleet.instances import Engine, Operation, Product
from september.fleet.managed import Perform
from september.fleet.tree import Fleet, running_fleet

from .stage import eventually, found, settings

IMAGE = "september-engine:latest"
ENV = {"LLM_PROVIDER": Secret("scripted"), "ENGINE_LOG_LEVEL": Secret("WARNING")}
TURN = {
    "task_id": "t",
    "message": "Show me what you can do: remember that I took the tour today, write a short note"
    " into a file, read it back, and run `uname -sr` in the shell.",
}
"""What the built-in script of the scripted provider answers with tools, bash among them."""


def docker(*arguments: str) -> str:
    ended = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    return ended.stdout.strip() if ended.returncode == 0 else ""


pytestmark = [
    pytest.mark.crash,
    pytest.mark.timeout(180),
    pytest.mark.skipif(
        shutil.which("docker") is None or not docker("image", "inspect", IMAGE),
        reason=f"no Docker daemon, or no image {IMAGE} in it",
    ),
]


class Containers:
    """A fleet on Docker, and what a test asks of it."""

    def __init__(self, fleet: Fleet, product: Product) -> None:
        self.fleet = fleet
        self.product = product

    async def provision(self, user: str = "ada") -> Engine:
        return found(await self.fleet.discovery.call(Provision(self.product, user, None)))

    async def do(self, engine: Engine, operation: Operation, **wanted: object) -> Engine | None:
        ref = await self.fleet.roster.of(engine.id)
        outcome = await ref.call(Perform(operation, "t", wanted))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def row(self, engine: Engine) -> Engine:
        read = partial(registry.engine, engine_id=engine.id)
        row = await self.fleet.resources.database.read(read)
        assert row is not None
        return row

    async def turn(self, engine: Engine) -> str:
        key = self.fleet.resources.vault.open((await self.row(engine)).engine_key_enc)
        async with httpx2.AsyncClient(timeout=60) as http:
            with trio.fail_after(30):
                answer = await http.post(
                    f"{engine.url}/execute", json=TURN, headers={"X-Engine-Key": key}
                )
        return answer.text

    async def well(self, engine: Engine, within: float = 40) -> None:
        async def check() -> bool:
            row = await self.row(engine)
            try:
                health = await self.fleet.resources.client.health(row.url or "", 2)
            except Exception:
                return False
            return health.ok and row.status.value == "running" and row.operation is None

        await eventually(check, within)


@asynccontextmanager
async def contained(url: str, **changes: object) -> AsyncGenerator[Containers]:
    port = 21000 + os.getpid() % 5000
    config = settings(
        url,
        orch_boot_timeout_s=15.0,
        engine_env=ENV,
        orch_engine_network="september_test",
        orch_port_min=port,
        orch_port_max=port + 50,
        orch_engine_memory=160 * 2**20,
        **changes,
    )
    product = Product(UUID(int=2), "docked", "Docked", {})
    async with open_client() as client:
        async with running_fleet(config, partial(make_backend, config), client, spread=0) as fleet:
            await fleet.resources.database.write(
                partial(registry.insert_product, product=product, key_hash="h")
            )
            try:
                yield Containers(fleet, product)
            finally:
                with trio.CancelScope(shield=True):
                    for row in await fleet.resources.database.read(registry.engines):
                        await fleet.resources.backend.destroy(row.id, 2**40)


def _left(engine: Engine) -> str:
    name = engine.id.hex[:12]
    return docker("ps", "-aq", "--filter", f"name={name}") + docker(
        "volume", "ls", "-q", "--filter", f"name={name}"
    )


async def test_the_life_of_an_engine_in_a_container(database_url: str, tmp_path: Path) -> None:
    async with contained(database_url) as fleet:
        engine = await fleet.provision()
        turn = await fleet.turn(engine)
        assert "Linux" in turn and '"completed"' in turn
        rotated = await fleet.do(engine, Operation.ROTATE_KEY)
        assert rotated is not None and rotated.container_id == engine.container_id
        assert '"completed"' in await fleet.turn(engine)
        await fleet.do(engine, Operation.SLEEP)
        woken = await fleet.fleet.discovery.call(Admit(fleet.product, "ada", False, True))
        assert not isinstance(woken, Exception) and woken.engine is not None
        assert '"completed"' in await fleet.turn(engine)
        await fleet.fleet.resources.backend.export(engine.id, tmp_path / "brain.sqlite")
        assert (tmp_path / "brain.sqlite").read_bytes()[:6] == b"SQLite"
        docker("tag", IMAGE, "september-engine:next")
        upgraded = await fleet.do(engine, Operation.UPGRADE, next_image="september-engine:next")
        assert upgraded is not None and upgraded.image == "september-engine:next"
        broken = await fleet.do(engine, Operation.UPGRADE, next_image="python:3.12-slim")
        assert broken is not None and broken.image == "september-engine:next"
        assert '"completed"' in await fleet.turn(engine)
        await fleet.do(engine, Operation.DESTROY)
        assert _left(engine) == ""


async def test_a_container_is_hardened(database_url: str) -> None:
    async with contained(database_url) as fleet:
        engine = await fleet.provision()
        said = docker(
            "inspect",
            engine.container_id or "",
            "--format",
            "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}"
            " {{.HostConfig.PidsLimit}} {{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}",
        )
        assert said == "10001:10001 true [ALL] 512 167772160 unless-stopped"
        ports = docker("port", engine.container_id or "")
        assert ports == f"8000/tcp -> 127.0.0.1:{engine.port}"
        assert not docker("exec", engine.container_id or "", "touch", "/opt/x")


async def test_what_is_killed_comes_back(database_url: str) -> None:
    async with contained(database_url, orch_reconcile_interval_s=1.0) as fleet:
        engine = await fleet.provision()
        name = engine.container_id or ""
        pid = int(docker("inspect", name, "--format", "{{.State.Pid}}"))
        os.kill(pid, signal.SIGKILL)  # the daemon's restart policy brings it back
        await trio.sleep(0.5)
        await fleet.well(engine)
        docker("kill", name)  # counts as stopped by hand: reconciliation has to
        await fleet.well(engine)
        eater = "x = bytearray(400 * 2**20)"
        docker("exec", name, "python", "-c", eater)
        await fleet.well(engine)
        docker("rm", "-f", name)
        await trio.sleep(1.5)
        await fleet.well(engine)
        assert '"completed"' in await fleet.turn(await fleet.row(engine))
        assert docker("ps", "-aq", "--filter", f"name={engine.id.hex[:12]}").count("\n") == 0
