"""An Engine killed at any moment leaves no command behind, and no lock that is in the way."""

import fcntl
import subprocess
from pathlib import Path
from typing import IO

import pytest
import trio

from tests.peers import Call, provider_peer, script

from .client import Client
from .crash import made, processes, wait_gone
from .figures import note
from .harness import engine_process, peered, settings
from .served import served
from .waiting import until

pytestmark = pytest.mark.crash

AT_ONCE = 10
TRIES = 3


async def test_no_command_outlives_its_engine(tmp_path: Path) -> None:
    took = [await killed_early(made(tmp_path / f"try-{number}")) for number in range(TRIES)]
    note("kill while sandboxes are made", f"{TRIES * AT_ONCE} commands, gone after {took} s")


async def killed_early(folder: Path) -> float:
    """Start commands, kill their Engine when the first is to be seen; seconds until all is gone."""
    calls = [Call("bash", {"command": "sleep 77"})] * AT_ONCE
    async with provider_peer("openai", script(calls)) as peer:
        env = peered(folder, peer)
        async with engine_process(env) as doomed, Client(doomed.url) as client:
            async with client.execute() as stream:
                await stream.until("tool_call")
                workspace = folder / "workspaces" / "task"
                await until(lambda: bool(processes(workspace)))
                await doomed.kill()
                killed = trio.current_time()
                await wait_gone(folder, within=1.0)
    return round(trio.current_time() - killed, 3)


async def test_the_lock_of_a_dead_engine_is_waited_for(tmp_path: Path) -> None:
    async with served(settings(tmp_path)):
        pass
    with (tmp_path / "brain.sqlite.lock").open("w") as lock:
        lock.write(f"{dead_pid()}\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(release_soon, lock)
            async with served(settings(tmp_path)):
                pass


async def release_soon(lock: IO[str]) -> None:
    """What the kernel does when the last holder of the lock is gone."""
    await trio.sleep(0.2)
    fcntl.flock(lock, fcntl.LOCK_UN)


def dead_pid() -> int:
    """The pid of a process that is no more."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    return gone.pid
