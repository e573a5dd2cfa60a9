"""A service of ours as a child process, which ends with us however we end."""

import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from ..errors import SeptemberError

_START_TIMEOUT_S: Final = 60.0
_STOP_TIMEOUT_S: Final = 40.0
"""Above DRAIN_TIMEOUT_S, which is 30 s unless set, and what an orchestrator gives its Engines."""


@dataclass(frozen=True, slots=True)
class Child:
    """A service that answers at `url`."""

    url: str
    process: trio.Process


@asynccontextmanager
async def child(
    command: Sequence[str], environment: Mapping[str, str], log: Path
) -> AsyncGenerator[Child]:
    """Run `september` with `command` while the body runs; its output goes to `log`.

    Raises SeptemberError with its last words if it does not start.
    """
    ours, theirs = socket.socketpair()
    with trio.socket.from_stdlib_socket(ours) as parent:
        with theirs, log.open("ab") as output:
            program = [sys.executable, "-P", "-m", "september", *command]
            process = await trio.lowlevel.open_process(
                [*program, "--parent-fd", str(theirs.fileno())],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # the terminal's Ctrl-C is for us alone
            )
        try:
            yield Child(await _address(parent, command[0], log), process)
        finally:
            await _stop(process)


async def _address(parent: trio.socket.SocketType, name: str, log: Path) -> str:
    """What a service says when it is ready."""
    said = b""
    with trio.move_on_after(_START_TIMEOUT_S):
        while not said.endswith(b"\n"):
            part = await parent.recv(1024)
            if not part:
                break
            said += part
    if not said.endswith(b"\n"):
        raise SeptemberError("NOT_STARTED", f"the {name} did not start: {last_words(log)}")
    return said.decode().strip()


def last_words(log: Path) -> str:
    """The last line of a log, and where the others are."""
    lines = log.read_text(errors="replace").strip().splitlines()
    last = lines[-1].removeprefix("september: ") if lines else "it said nothing"
    return f"{last} (log: {log})"


async def _stop(process: trio.Process) -> None:
    with trio.CancelScope(shield=True):
        process.terminate()
        with trio.move_on_after(_STOP_TIMEOUT_S):
            await process.wait()
        if process.poll() is None:
            process.kill()
            await process.wait()
