"""Real Engine processes: started on a brain, killed, refused; and the settings they run with."""

import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT

import trio

from tests.peers import Peer
from tests.peers.adapters import MODELS

KEY = "an-engine-key-for-tests"
BOOT_S = 60.0
"""Seconds an Engine may take to serve: a boot takes under one, on a machine that is not busy."""

LAUNCH = (sys.executable, "-m", "september", "engine")


def settings(folder: Path, **more: str) -> dict[str, str]:
    """The environment of an Engine whose brain is in `folder`; it plays scripted rules."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "HOME": str(folder),
        "ENGINE_API_KEY": KEY,
        "ENGINE_PORT": "0",
        "LLM_PROVIDER": "scripted",
        "SQLITE_DB_PATH": str(folder / "brain.sqlite"),
        **more,
    }


def peered(folder: Path, peer: Peer, **more: str) -> dict[str, str]:
    """The environment of an Engine whose model is `peer`."""
    return pointed(folder, peer.wire.name, peer.base_url, peer.key, **more)


def pointed(folder: Path, provider: str, url: str, key: str, **more: str) -> dict[str, str]:
    """The environment of an Engine whose provider answers at `url`."""
    return settings(
        folder,
        LLM_PROVIDER=provider,
        LLM_MODEL=MODELS[provider],
        LLM_API_KEY=key,
        **{f"{provider.upper()}_BASE_URL": url},
        **more,
    )


class EngineProcess:
    """A running Engine process. `log` is what it printed so far, line by line."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.url = ""
        self.log: list[str] = []
        self._news = trio.Event()
        self._over = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    async def kill(self) -> None:
        """Kill it as a power cut would: no handler runs. Returns when it is dead."""
        if self.process.returncode is None:
            os.kill(self.pid, signal.SIGKILL)
        await self.process.wait()

    def terminate(self) -> None:
        """Ask it to drain and stop."""
        os.kill(self.pid, signal.SIGTERM)

    async def stopped(self, within: float = 30.0) -> int:
        """Wait for its end; the exit code."""
        with trio.fail_after(within):
            return await self.process.wait()

    async def printed(self, words: str) -> str:
        """The first line with `words` in it, once it is printed."""
        seen = 0
        while True:
            for line in self.log[seen:]:
                if words in line:
                    return line
            if self._over:
                raise AssertionError("it ended without saying so:\n" + "\n".join(self.log))
            seen = len(self.log)
            await self._news.wait()

    async def watch(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read what it prints, to the end; started once it serves."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_log)
            with trio.fail_after(BOOT_S):
                ready = await self.printed('"engine ready"')
            self.url = json.loads(ready)["extra"]["url"]
            task_status.started()

    async def _read_log(self) -> None:
        assert self.process.stdout is not None
        rest = b""
        async with self.process.stdout as stdout:
            async for chunk in stdout:
                *lines, rest = (rest + chunk).split(b"\n")
                self.log += [line.decode(errors="replace") for line in lines]
                self._tell()
        self._over = True
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    def descriptors(self) -> int:
        """How many descriptors it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resident_kib(self) -> int:
        """Its resident memory."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS: the process is dead")


@asynccontextmanager
async def engine_process(
    env: dict[str, str], launch: tuple[str, ...] = LAUNCH
) -> AsyncGenerator[EngineProcess]:
    """Start an Engine, wait until it serves, and make sure that it is gone afterwards."""
    process = await trio.lowlevel.open_process(
        launch, env=env, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, cwd="/"
    )
    engine = EngineProcess(process)
    async with trio.open_nursery() as nursery:
        try:
            await nursery.start(engine.watch)
            yield engine
        finally:
            with trio.CancelScope(shield=True):
                await engine.kill()
            # what it printed to the end is read, unless a process it left behind keeps the pipe
            nursery.cancel_scope.deadline = trio.current_time() + 5


@dataclass(frozen=True)
class Boot:
    """A boot that ended: its exit code, and all it printed."""

    code: int
    output: str


async def boot(env: dict[str, str], *more: str) -> Boot:
    """Start an Engine that is expected to end by itself."""
    with trio.fail_after(BOOT_S):
        ended = await trio.run_process(
            [*LAUNCH, *more], env=env, capture_stdout=True, stderr=STDOUT, check=False, cwd="/"
        )
    return Boot(ended.returncode, ended.stdout.decode(errors="replace"))
