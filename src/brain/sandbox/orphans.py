"""Commands that outlived a killed Engine, put down when the next one starts.

bubblewrap's init asks to die with its parent only when its mounts are set up. An Engine that is
killed in those first milliseconds leaves it behind; it belongs to nobody, so nobody misses it.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL
from typing import Final

_INIT: Final = 1


def put_down(workspaces: Path) -> int:
    """Kill this user's orphaned sandboxes that were given `workspaces`; return how many."""
    found = list(_orphans(os.fsencode(workspaces)))
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, SIGKILL)
    return len(found)


def _orphans(workspaces: bytes) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if _is_orphan(entry, workspaces):
                    yield int(entry.name)


def _is_orphan(process: Path, workspaces: bytes) -> bool:
    command = (process / "cmdline").read_bytes().split(b"\0")
    if not command[0].endswith(b"bwrap") or process.stat().st_uid != os.getuid():
        return False
    ours = any(part == workspaces or part.startswith(workspaces + b"/") for part in command)
    return ours and _parent(process) == _INIT


def _parent(process: Path) -> int:
    # The name, in parentheses, may hold anything; what follows it is `state ppid ...`.
    return int((process / "stat").read_bytes().rpartition(b")")[2].split()[1])
