"""Processes of this host, each known by its pid and its start time."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from msgspec import Struct


class Process(Struct, frozen=True):
    """A process. `started` is in clock ticks since boot: field 22 of /proc/PID/stat (proc(5))."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "Process":
        """The process that has this pid now."""
        return cls(pid, _stat(pid)[1])

    def alive(self) -> bool:
        """Whether it is still there, and no zombie."""
        state, started = _stat(self.pid)
        return state not in ("Z", "X", "") and started == self.started

    def signal(self, number: signal.Signals) -> None:
        """Signal it, if it is still there."""
        with suppress(ProcessLookupError):
            if self.alive():
                os.kill(self.pid, number)


def processes_in(folder: Path) -> Iterator[Process]:
    """Living processes that lead their session and work in `folder`."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                if (entry / "cwd").readlink() == folder and os.getsid(int(entry.name)) == int(
                    entry.name
                ):
                    process = Process.of(int(entry.name))
                    if process.alive():
                        yield process


def is_free(port: int) -> bool:
    """Whether one could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def last_lines(path: Path, lines: int) -> str:
    """The end of a text file; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 512 * (lines + 1)))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _stat(pid: int) -> tuple[str, int]:
    """State and start time; ("", 0) if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "", 0
    fields = text[text.rindex(")") + 2 :].split()
    return fields[0], int(fields[19])
