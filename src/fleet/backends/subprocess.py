"""Engines as processes of this host: no isolation and no limits, for development and small fleets.

An Engine is a folder: its brain, its log, `launch.json` (how it is started) and `process.json`
(which process it is). A process is known by its pid and its start time, so a pid that was given
out again is nobody's. Engines outlive an orchestrator; the next one finds them by their folders.
"""

import fcntl
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, TextIO, TypeVar
from uuid import UUID

import msgspec
import trio
from msgspec import Struct

from ...config import Secret
from .backend import (
    Backend,
    BackendError,
    Died,
    Endpoint,
    EngineSpec,
    Fenced,
    Instance,
    NoInstance,
    PortTaken,
    Presence,
)
from .process import Process, is_free, last_lines, processes_in

T = TypeVar("T")

ENGINE: Final = (sys.executable, "-P", "-m", "september", "engine")
"""The program that an Engine is."""

_INHERITED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE")
_KILL_WAIT_S: Final = 5.0
_WATCH_S: Final = 0.25
_LOCK_POLL_S: Final = 0.05


class Launch(Struct, frozen=True):
    """How an Engine is started. The variables that are passed through are not kept."""

    image: str
    port: int
    digest: str
    generation: int
    key_hash: str


class SubprocessBackend(Backend):
    """The verbs on folders below `root`; `env` is what is passed through to every Engine."""

    def __init__(
        self,
        root: Path,
        env: Mapping[str, Secret],
        catalog: Path | None = None,
        program: Sequence[str] = ENGINE,
    ) -> None:
        self._root = root
        self._env = env
        self._catalog = catalog
        self._program = tuple(program)
        self._children: set[int] = set()
        self._expected: set[UUID] = set()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Have the folder; on the way out leave the Engines running."""
        await _in_thread(partial(self._root.mkdir, parents=True, exist_ok=True, mode=0o700))
        yield

    async def create(self, spec: EngineSpec) -> Endpoint:
        """Write down how it is started, and start it."""
        async with self._fenced(spec.engine_id, spec.generation, make=True) as folder:
            there = _read_launch(folder)
            if there is not None and there.digest != spec.digest:
                await self._end(folder, _KILL_WAIT_S)
            launch = Launch(
                spec.image,
                spec.port,
                spec.digest,
                spec.generation,
                spec.env["ENGINE_KEY_HASH"].reveal(),
            )
            _write(folder / "launch.json", msgspec.json.encode(launch))
            return await self._launch(spec.engine_id, folder, launch)

    async def start(self, engine_id: UUID, generation: int) -> Endpoint:
        """Start its process unless it runs."""
        async with self._fenced(engine_id, generation) as folder:
            launch = _read_launch(folder)
            if launch is None:
                raise NoInstance
            return await self._launch(engine_id, folder, launch)

    async def stop(self, engine_id: UUID, generation: int, within: float = 30.0) -> None:
        """SIGTERM, and after `within` seconds SIGKILL."""
        async with self._fenced(engine_id, generation) as folder:
            self._expected.add(engine_id)
            await self._end(folder, within)

    async def destroy(self, engine_id: UUID, generation: int) -> None:
        """End it and remove its folder."""
        async with self._fenced(engine_id, generation) as folder:
            self._expected.add(engine_id)
            await self._end(folder, _KILL_WAIT_S)
            await _in_thread(partial(shutil.rmtree, folder, ignore_errors=True))
            for suffix in (".fence", ".lock"):
                folder.with_suffix(suffix).unlink(missing_ok=True)

    async def status(self, engine_id: UUID) -> Presence:
        """Look at its folder and its process."""
        return self._presence(self._folder(engine_id))

    async def list(self) -> tuple[Instance, ...]:
        """Look at every folder."""
        return await _in_thread(self._list)

    async def watch(self) -> AsyncGenerator[Died]:
        """Look which of those that ran run no more; our own children are reaped on the way."""
        known: set[UUID] = set()
        while True:
            alive = {
                one.engine_id
                for one in await _in_thread(self._list)
                if one.presence is Presence.RUNNING
            }
            for engine_id in known - alive - self._expected:
                yield Died(engine_id, self._last_words(engine_id))
            self._expected -= known - alive
            known = alive
            await trio.sleep(_WATCH_S)

    async def logs(self, engine_id: UUID, lines: int) -> str:
        """The end of its log."""
        return await _in_thread(partial(last_lines, self._folder(engine_id) / "engine.log", lines))

    async def snapshot(self, engine_id: UUID, generation: int) -> str:
        """Copy the brain within its folder."""
        async with self._fenced(engine_id, generation) as folder:
            name = f"brain.{generation}.sqlite"
            await _in_thread(partial(_copy_brain, folder / "brain.sqlite", folder / name))
            return name

    async def restore(self, engine_id: UUID, generation: int, snapshot: str) -> None:
        """Put the copy in the brain's place."""
        async with self._fenced(engine_id, generation) as folder:
            await _in_thread(partial(_put_back, folder / snapshot, folder / "brain.sqlite"))

    async def export(self, engine_id: UUID, to: Path) -> None:
        """Copy the brain with SQLite's backup."""
        await _in_thread(partial(_copy_brain, self._folder(engine_id) / "brain.sqlite", to))

    async def replace_brain(self, engine_id: UUID, generation: int, brain: Path) -> None:
        """Copy the file into its folder."""
        async with self._fenced(engine_id, generation) as folder:
            await _in_thread(partial(_put_back, brain, folder / "brain.sqlite"))

    async def _launch(self, engine_id: UUID, folder: Path, launch: Launch) -> Endpoint:
        self._expected.discard(engine_id)
        endpoint = Endpoint(f"http://127.0.0.1:{launch.port}", engine_id.hex[:12])
        if self._presence(folder) is Presence.RUNNING:
            return endpoint
        if not is_free(launch.port):
            raise PortTaken(launch.port)
        await _in_thread(partial(self._spawn, folder, launch))
        return endpoint

    def _spawn(self, folder: Path, launch: Launch) -> None:
        """Start the process; `spawning` says that there may be one that is not written down."""
        env = self._environment(folder, launch)
        (folder / "spawning").touch()
        with (folder / "engine.log").open("ab") as log:
            child = subprocess.Popen(
                self._program,
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        child.returncode = 0  # it may outlive us: its end is waited for by pid, in _reap
        self._children.add(child.pid)
        _write(folder / "process.json", msgspec.json.encode(Process.of(child.pid)))
        (folder / "spawning").unlink()

    def _environment(self, folder: Path, launch: Launch) -> dict[str, str]:
        own = {
            "ENGINE_KEY_HASH": launch.key_hash,
            "ENGINE_HOST": "127.0.0.1",
            "ENGINE_PORT": str(launch.port),
            "SQLITE_DB_PATH": str(folder / "brain.sqlite"),
        }
        if self._catalog is not None:
            own["CATALOG_DIR"] = str(self._catalog)
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return {**inherited, **{name: value.reveal() for name, value in self._env.items()}, **own}

    async def _end(self, folder: Path, within: float) -> None:
        process = self._process(folder)
        if process is None:
            return
        process.signal(signal.SIGTERM)
        if not await self._ended(process, within):
            process.signal(signal.SIGKILL)
            if not await self._ended(process, _KILL_WAIT_S):
                raise BackendError(f"process {process.pid} does not end")

    async def _ended(self, process: Process, within: float) -> bool:
        with trio.move_on_after(within):
            while True:
                self._reap()
                if not process.alive():
                    return True
                await trio.sleep(0.02)
        return False

    def _reap(self) -> None:
        for pid in tuple(self._children):
            if os.waitpid(pid, os.WNOHANG)[0]:
                self._children.remove(pid)

    def _presence(self, folder: Path) -> Presence:
        if self._process(folder) is not None:
            return Presence.RUNNING
        return Presence.STOPPED if (folder / "launch.json").exists() else Presence.ABSENT

    def _process(self, folder: Path) -> Process | None:
        """The living process of an Engine, also one that nobody had time to write down."""
        self._reap()
        try:
            written = msgspec.json.decode((folder / "process.json").read_bytes(), type=Process)
        except (OSError, msgspec.DecodeError):
            written = None
        if written is not None and written.alive():
            return written
        return next(processes_in(folder), None) if (folder / "spawning").exists() else None

    def _list(self) -> tuple[Instance, ...]:
        found: list[Instance] = []
        for folder in self._root.iterdir():
            launch = _read_launch(folder)
            if len(folder.name) == 32 and folder.is_dir():
                generation = launch.generation if launch is not None else 0
                found.append(Instance(UUID(folder.name), self._presence(folder), generation))
        return tuple(found)

    def _last_words(self, engine_id: UUID) -> str:
        words = last_lines(self._folder(engine_id) / "engine.log", 1).strip()
        return f"the process ended: {words[-200:]}"

    def _folder(self, engine_id: UUID) -> Path:
        return self._root / engine_id.hex

    @asynccontextmanager
    async def _fenced(
        self, engine_id: UUID, generation: int, *, make: bool = False
    ) -> AsyncGenerator[Path]:
        """The Engine's folder, locked against other orchestrators, if `generation` is newest."""
        folder = self._folder(engine_id)
        if make:
            await _in_thread(partial(folder.mkdir, mode=0o700, exist_ok=True))
        with (self._root / f"{engine_id.hex}.lock").open("a") as lock:
            while not _locked(lock):  # noqa: ASYNC110  another process holds the lock
                await trio.sleep(_LOCK_POLL_S)
            fence = self._root / f"{engine_id.hex}.fence"
            newest = _read_fence(fence)
            if generation < newest:
                raise Fenced(f"generation {generation}, the newest is {newest}")
            if generation > newest:
                _write(fence, str(generation).encode())
            yield folder


def _read_fence(fence: Path) -> int:
    """The newest generation for which something was done."""
    try:
        return int(fence.read_text())
    except FileNotFoundError:
        return 0


def _locked(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_launch(folder: Path) -> Launch | None:
    try:
        return msgspec.json.decode((folder / "launch.json").read_bytes(), type=Launch)
    except (OSError, msgspec.DecodeError):
        return None


def _write(path: Path, content: bytes) -> None:
    """Replace a file as a whole, readable only by us."""
    fresh = path.with_suffix(".new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    fresh.replace(path)


def _copy_brain(brain: Path, to: Path) -> None:
    """A consistent copy, also while the Engine writes (SQLite's backup API)."""
    if not brain.exists():
        raise BackendError("there is no brain yet")
    with sqlite3.connect(brain) as source, sqlite3.connect(to) as target:
        source.backup(target)
    source.close()
    target.close()


def _put_back(copy: Path, brain: Path) -> None:
    """Replace the brain as a whole; a crash in between leaves the old one or the new one."""
    fresh = brain.with_suffix(".new")
    shutil.copyfile(copy, fresh)
    for suffix in ("-wal", "-shm"):
        brain.with_name(brain.name + suffix).unlink(missing_ok=True)
    fresh.replace(brain)


async def _in_thread(work: Callable[[], T]) -> T:
    try:
        return await trio.to_thread.run_sync(work)
    except (OSError, sqlite3.Error) as error:
        raise BackendError(f"{type(error).__name__}: {error}") from error
