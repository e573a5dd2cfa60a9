"""Landlock's rules for the sandbox: the kernel's own word on which paths a command may touch.

A second wall behind bubblewrap's mounts: it holds for file descriptors, /proc/<pid>/root and
whatever else might lead around a mount. Rights are those of include/uapi/linux/landlock.h.
"""

import ctypes
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_CREATE_RULESET: Final = 444
_GET_VERSION: Final = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15

_HANDLED: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
"""Rights over files that each version knows; REFER came with 2, TRUNCATE 3, IOCTL_DEV 5."""

_LATEST: Final = (1 << 16) - 1
_SCOPES_SINCE: Final = 6
_SCOPES: Final = 0b11
"""No abstract Unix socket and no signal reaches a process outside."""

_READING: Final = _EXECUTE | _READ_FILE | _READ_DIR
_DEVICES: Final = _READ_FILE | _READ_DIR | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV
_EVERYTHING: Final = _LATEST & ~(_MAKE_CHAR | _MAKE_BLOCK)


def version() -> int:
    """The version of Landlock's interface in this kernel; 0: it has none, or it is switched off."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = int(libc.syscall(ctypes.c_long(_CREATE_RULESET), None, ctypes.c_long(0), _GET_VERSION))
    return max(0, found)


def handled(interface: int) -> int:
    """The rights that are refused but for the rules; 0: none, there is no Landlock."""
    return 0 if interface == 0 else _HANDLED.get(interface, _LATEST)


def scoped(interface: int) -> int:
    """What does not reach beyond the sandbox's own processes."""
    return _SCOPES if interface >= _SCOPES_SINCE else 0


def rules(
    interface: int, readable: Iterable[str], writable: Iterable[Path]
) -> Iterator[tuple[str, int]]:
    """Paths with the rights below them: folders to read (and execute), folders of one's own."""
    rights = {"/": _READ_DIR, "/proc": _READING, "/dev": _DEVICES}
    rights |= dict.fromkeys(readable, _READING)
    rights |= dict.fromkeys(("/tmp", "/dev/shm", *map(str, writable)), _EVERYTHING)
    return ((path, granted & handled(interface)) for path, granted in rights.items())
