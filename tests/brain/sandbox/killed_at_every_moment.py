"""Forks Engines that start ten commands, and kills each a little later than the one before.

`python killed_at_every_moment.py <mode> <workspace> <how many>` prints the seconds that the
slowest command tree took to be gone. A process of its own, so that it can fork.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

import trio

from september.actors.testing import running
from september.brain.sandbox.sandbox import RunCommand, Sandbox, SandboxMode, run_command

SPAN_S: Final = 0.2
"""The first command is long running by then."""

TOO_LONG_S: Final = 10.0


async def engine(mode: SandboxMode, workspace: Path, ready: Callable[[], object]) -> None:
    async with running(Sandbox(mode=mode)) as sandbox, trio.open_nursery() as nursery:
        ready()
        for number in range(10):
            order = RunCommand(f"sleep 4{number} & sleep 4{number}", workspace, ())
            nursery.start_soon(run_command, sandbox, order)


def killed_after(moment_s: float, mode: SandboxMode, workspace: Path) -> float:
    """How many seconds after the kill the last process was gone."""
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        trio.run(engine, mode, workspace, lambda: os.write(writes, b"."))
        os._exit(1)
    os.close(writes)
    assert os.read(reads, 1) == b"."
    os.close(reads)
    time.sleep(moment_s)  # noqa: TID251  no trio here
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    began = time.monotonic()
    while any(about(workspace)) and time.monotonic() - began < TOO_LONG_S:
        time.sleep(0.005)  # noqa: TID251
    return time.monotonic() - began


def about(folder: Path) -> Iterator[str]:
    """Processes that name a folder on their command line or work in it; not this one."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        place = Path("/proc", pid)
        with suppress(OSError):
            words = (place / "cmdline").read_bytes().decode(errors="replace")
            named = str(folder) in words or str(folder) in os.readlink(place / "cwd")
            if named and int(pid) != os.getpid():
                yield words


def main() -> None:
    mode, workspace, times = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    moments = (SPAN_S * number / times for number in range(times))
    slowest = max(killed_after(one, cast("SandboxMode", mode), workspace) for one in moments)
    sys.stdout.write(f"{slowest}\n")


if __name__ == "__main__":
    main()
