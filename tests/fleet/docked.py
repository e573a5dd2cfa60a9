"""A fleet on a real Docker daemon, and what a test asks of it and of the daemon."""

import os
import subprocess
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import msgspec
import psutil
import trio

from september.actors import Trace
from september.config import Secret
from september.fleet import registry
from september.fleet.backends.backend import BackendError
from september.fleet.backends.choice import make_backend
from september.fleet.backends.process import Process, is_free
from september.fleet.discovery import Admit, Provision
from september.fleet.engine_client import Unreachable, open_client
from september.fleet.instances import Engine, Operation, Product
from september.fleet.managed import Perform
from september.fleet.store.database import Session
from september.fleet.tree import Fleet, Pace, running_fleet

from .stage import eventually, found, settings

IMAGE = "september-engine:latest"

ENV = {"LLM_PROVIDER": Secret("scripted"), "ENGINE_LOG_LEVEL": Secret("WARNING")}

SHOW = (
    "Show me what you can do: remember that I took the tour today, write a short note"
    " into a file, read it back, and run `uname -sr` in the shell."
)
"""What the built-in script of the scripted provider answers with tools, bash among them."""


def docker(*arguments: str, at: str | None = None) -> str:
    """What the command says; nothing if it fails. `at` is another daemon's socket."""
    env = {**os.environ, **({"DOCKER_HOST": at} if at else {})}
    ended = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, check=False, env=env
    )
    return ended.stdout.strip() if ended.returncode == 0 else ""


def inspect(name: str, at: str | None = None) -> dict[str, Any]:
    """What the daemon knows of a container."""
    found: list[dict[str, Any]] = msgspec.json.decode(docker("inspect", name, at=at))
    return found[0]


def pid_of(name: str, program: str) -> int:
    """The process on this host that runs `program` in a container."""
    for line in docker("top", name, "-o", "pid,args").splitlines()[1:]:
        pid, _, command = line.strip().partition(" ")
        if program in command and "docker-init" not in command:
            return int(pid)
    raise LookupError(f"{program} does not run in {name}")


class Containers:
    """A fleet on Docker; `at` is the daemon's address, None for the usual one."""

    def __init__(self, fleet: Fleet, product: Product, at: str | None) -> None:
        self.fleet = fleet
        self.product = product
        self.at = at

    async def provision(self, user: str = "ada") -> Engine:
        return found(await self.fleet.discovery.call(Provision(self.product, user, None)))

    async def admit(self, user: str = "ada") -> Engine:
        """The Engine that an admit gives, woken if it sleeps."""
        answer = await self.fleet.discovery.call(Admit(self.product, user, False, True))
        assert not isinstance(answer, Exception) and answer.engine is not None, answer
        return answer.engine

    async def do(self, engine: Engine, operation: Operation, **wanted: object) -> Engine | None:
        ref = await self.fleet.roster.of(engine.id)
        outcome = await ref.call(Perform(operation, "t", wanted))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def done(self, engine: Engine, operation: Operation, **wanted: object) -> Engine:
        """The same where there is an Engine afterwards."""
        outcome = await self.do(engine, operation, **wanted)
        assert outcome is not None
        return outcome

    async def row(self, engine: Engine) -> Engine:
        read = partial(registry.engine, engine_id=engine.id)
        row = await self.fleet.resources.database.read(read)
        assert row is not None
        return row

    def key(self, engine: Engine) -> str:
        return self.fleet.resources.vault.open(engine.engine_key_enc)

    async def turn(self, message: str = SHOW, user: str = "ada") -> str:
        """Admit the user, and play a turn through the URL and the key that this gave."""
        engine = await self.admit(user)
        body, headers = {"task_id": "t", "message": message}, {"X-Engine-Key": self.key(engine)}
        async with httpx2.AsyncClient(timeout=60) as http:
            answer = await http.post(f"{engine.url}/execute", json=body, headers=headers)
        return answer.text

    async def conversations(self, user: str = "ada") -> str:
        """What the Engine remembers of its conversations."""
        engine = await self.admit(user)
        headers = {"X-Engine-Key": self.key(engine)}
        async with httpx2.AsyncClient(timeout=20) as http:
            answer = await http.get(f"{engine.url}/conversations/t", headers=headers)
        return answer.text

    async def well(self, engine: Engine, within: float = 40) -> Engine:
        """Wait until the row says that it runs, and the Engine that it is well."""

        async def check() -> bool:
            row = await self.row(engine)
            try:
                health = await self.fleet.resources.client.health(row.url or "", 2)
            except Unreachable:
                return False
            return health.ok and row.status.value == "running" and row.operation is None

        await eventually(check, within)
        return await self.row(engine)

    def left(self) -> list[str]:
        """Containers and volumes of this fleet."""
        ours = ("--filter", f"label=september.fleet={self.fleet_id}")
        kinds = (("ps", "-aq"), ("volume", "ls", "-q"))
        return [one for kind in kinds for one in docker(*kind, *ours, at=self.at).split()]

    @property
    def fleet_id(self) -> UUID:
        backend: Any = self.fleet.resources.backend
        return UUID(str(backend._settings.fleet))

    async def nothing_is_left(self, *engines: Engine) -> None:
        """Fail unless container, volume, row and port of these are gone."""
        assert self.left() == []
        count = await self.fleet.resources.database.read(_ports)
        assert count == 0
        assert all(is_free(engine.port) for engine in engines)


@asynccontextmanager
async def contained(
    url: str, /, at: str | None = None, **changes: Any
) -> AsyncGenerator[Containers]:
    """A fleet on the daemon; all that is its own there is removed in the end."""
    port, network = 21000 + os.getpid() % 5000, f"september-test-{uuid4().hex[:8]}"
    config = settings(
        url,
        orch_boot_timeout_s=30.0,
        engine_env=ENV,
        orch_engine_network=network,
        orch_engine_memory=256 * 2**20,
        **{"orch_port_min": port, "orch_port_max": port + 50, **changes},
    )
    product = Product(uuid4(), f"p{uuid4().hex[:8]}", "Docked", {})
    make = partial(make_backend, config)
    async with (
        open_client() as client,
        running_fleet(config, make, client, trace=Trace(), pace=Pace(spread=0, grace=0)) as fleet,
    ):
        insert = partial(registry.insert_product, product=product, key_hash=uuid4().hex)
        await fleet.resources.database.write(insert)
        try:
            yield Containers(fleet, product, at)
        finally:
            with trio.CancelScope(shield=True):
                await _remove_all(fleet)
                assert docker("network", "rm", network, at=at) == network


async def _remove_all(fleet: Fleet) -> None:
    for instance in await fleet.resources.backend.list():
        try:
            await fleet.resources.backend.destroy(instance.engine_id, 2**40)
        except BackendError as error:
            raise AssertionError(f"left over: {instance}") from error


async def _ports(session: Session) -> object:
    return await session.value("SELECT count(*) FROM port_allocations")


NAMESPACE = "september-test"
HERE, THERE = "10.213.255.1", "10.213.255.2"
"""Our end and the daemon's of the wire to it."""


class Daemon:
    """A Docker daemon of one's own, as on another host: with a network stack of its own.

    It must be so: on the machine's a second daemon would remove the bridge of the first.
    """

    def __init__(self, folder: Path) -> None:
        self.at = f"unix://{folder}/docker.sock"
        self._folder = folder
        self._command: Mapping[str, object] = {
            "--data-root": folder / "data",
            "--exec-root": folder / "exec",
            "--pidfile": folder / "docker.pid",
            "--host": self.at,
            "--iptables": "false",
            "--ip6tables": "false",
            "--containerd-namespace": "september-test",
            "--containerd-plugins-namespace": "september-test-plugins",
        }
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = self._launch()

        async def answers() -> bool:
            assert self._process is not None and self._process.poll() is None, self.log()
            return bool(docker("info", "--format", "{{.ID}}", at=self.at))

        await eventually(answers, within=30)

    def _launch(self) -> "subprocess.Popen[bytes]":
        options = [f"{name}={value}" for name, value in self._command.items()]
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{NAMESPACE}", "dockerd", *options],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def kill(self) -> None:
        """SIGKILL: it can put nothing in order. Its containerd dies with it, a moment later."""
        assert self._process is not None
        written = self._folder / "exec" / "containerd" / "containerd.pid"
        containerd = Process.of(int(written.read_text()))
        self._process.kill()
        self._process.wait()

        async def gone() -> bool:
            return not containerd.alive()

        await eventually(gone, within=10)
        written.unlink()  # where init reaps late, its successor would take a zombie for alive

    def stop(self) -> None:
        """SIGTERM."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60)

    def load(self, image: str) -> None:
        """Give it an image of the machine's daemon."""
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saved:
            env = {**os.environ, "DOCKER_HOST": self.at}
            subprocess.run(
                ["docker", "load", "-q"], stdin=saved.stdout, env=env, check=True, stdout=-3
            )

    def log(self) -> str:
        return (self._folder / "log").read_text()[-2000:]


@contextmanager
def own_daemon(folder: Path) -> Generator[Daemon]:
    """A daemon that is gone afterwards, with what it kept."""
    daemon = Daemon(folder)
    _ip("netns", "add", NAMESPACE)
    try:
        _ip("link", "add", "september0", "type", "veth", "peer", "eth0", "netns", NAMESPACE)
        _ip("address", "add", f"{HERE}/30", "dev", "september0")
        _ip("-n", NAMESPACE, "address", "add", f"{THERE}/30", "dev", "eth0")
        _ip("link", "set", "september0", "up")
        _ip("-n", NAMESPACE, "link", "set", "eth0", "up")
        _ip("-n", NAMESPACE, "link", "set", "lo", "up")
        yield daemon
    finally:
        daemon.stop()
        _end_all_below(folder)
        _ip("netns", "delete", NAMESPACE)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _end_all_below(folder: Path) -> None:
    """Shims outlive a daemon that was killed, containers their shims, mounts everybody."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(str(folder) in word for word in process.cmdline()):
                for one in (*process.children(recursive=True), process):
                    one.kill()
    for line in Path("/proc/self/mounts").read_text().splitlines():
        if (place := line.split()[1]).startswith(str(folder)):
            subprocess.run(["umount", "-l", place], check=False)
