"""Runs a command without confinement, and sees to it that no descendant outlives it.

A program of its own (`python -I -S reaper.py <parent's pid> <command> …`), on the standard
library alone. Descendants that lose their parent become children of this process
(PR_SET_CHILD_SUBREAPER), also those that called setsid or forked twice; so killing children
until none is left ends them all. It asks for SIGTERM when the Engine dies.
"""

import ctypes
import os
import signal
import sys
from types import FrameType
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36


class Stop(BaseException):
    """SIGTERM: the command is to end now."""


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise Stop


def _tie_to(parent: int) -> None:
    """Adopt orphaned descendants, and hear of the parent's death."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, _stop)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        raise Stop


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as listing:
            return [int(pid) for pid in listing.read().split()]
    except OSError:
        return []


def _end_descendants() -> None:
    """Kill children until there are none; each death may bring orphans."""
    while True:
        for pid in _children():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _run(argv: list[str]) -> int:
    """Run the command; return its wait status."""
    command = os.posix_spawnp(argv[0], argv, os.environ, setsigdef=[signal.SIGTERM])
    while True:
        pid, status = os.wait()
        if pid == command:
            return status


def main() -> int:
    """Run the command of the command line and return its exit code as a shell tells it."""
    try:
        _tie_to(int(sys.argv[1]))
        status = _run(sys.argv[2:])
    except Stop:
        status = signal.SIGTERM
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 127
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _end_descendants()
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
