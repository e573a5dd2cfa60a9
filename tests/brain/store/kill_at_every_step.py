"""Migrate copies of a brain, each killed with SIGKILL at another call that changes a file.

Usage: kill_at_every_step.py FOLDER MIGRATIONS. FOLDER/base.sqlite is copied to FOLDER/0.sqlite,
1.sqlite and so on; the n-th is killed before its n-th such call, until one gets through.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

import apsw

from september.brain.store.migrate import apply

calls_left = 0


def step() -> None:
    global calls_left
    if calls_left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    calls_left -= 1


class File(apsw.VFSFile):
    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        step()
        super().xWrite(data, offset)  # pyright: ignore[reportUnknownMemberType]  # apsw's Buffer

    def xSync(self, flags: int) -> None:
        step()
        super().xSync(flags)

    def xTruncate(self, newsize: int) -> None:
        step()
        super().xTruncate(newsize)


class Vfs(apsw.VFS):
    def __init__(self) -> None:
        super().__init__("killing", "unix", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return File(name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        step()
        super().xDelete(filename, syncdir)


def survives(brain: Path, migrations: Path, calls: int) -> bool:
    """Migrate in a child that is killed before call number `calls`."""
    global calls_left
    child = os.fork()
    if child == 0:
        calls_left = calls
        vfs = Vfs()
        apply(brain, folder=migrations)
        vfs.unregister()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        assert os.waitstatus_to_exitcode(status) == 0
    return not os.WIFSIGNALED(status)


def main() -> None:
    folder, migrations = Path(sys.argv[1]), Path(sys.argv[2])
    calls = 0
    while True:
        brain = folder / f"{calls}.sqlite"
        shutil.copy(folder / "base.sqlite", brain)
        if survives(brain, migrations, calls):
            return
        calls += 1


main()
