"""What is done to an Engine's volume: copies of it, and of the brain in it.

Each time by a container of an Engine's image that has the volume and nothing else: so it works on
a remote daemon, and whether the Engine runs or not. All of it blocks.
"""

import shutil
import tarfile
import tempfile
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from .backend import BackendError
from .container import UID, USER

_BESIDE: Final[Mapping[str, Any]] = {
    "user": USER,
    "network_mode": "none",
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "healthcheck": {"test": ["NONE"]},
}

_COPY: Final = "/var/tmp/copy.sqlite"

_BACKUP: Final = f"""
import sqlite3
source = sqlite3.connect("file:/data/brain.sqlite?mode=rw", uri=True)
copy = sqlite3.connect("{_COPY}")
source.backup(copy)
copy.close()
"""
"""SQLite's locks hold between containers of one host. mode=rw: never make an empty one."""

_PATIENCE_S: Final = 600
"""Above what a copy of some gigabytes takes."""

_ARRIVAL: Final = "arrival.sqlite"
_MOVE_IN: Final = (
    f"rm -f /data/brain.sqlite-wal /data/brain.sqlite-shm && mv /data/{_ARRIVAL} /data/brain.sqlite"
)


def copy(docker: Any, image: str, source: str, target: str) -> None:
    """Make one volume the same as another.

    A new volume takes its owner from the image's /data, so the target is mounted there.
    """
    script = "find /data -mindepth 1 -delete && cp -a /from/. /data/"
    volumes = {source: {"bind": "/from", "mode": "ro"}, target: {"bind": "/data"}}
    with _beside(docker, image, ["/bin/sh", "-c", script], volumes) as helper:
        _run(helper)


def read_brain(docker: Any, image: str, volume: str, to: Path) -> None:
    """Write a consistent copy of the brain to a file of ours, also while an Engine writes."""
    volumes = {volume: {"bind": "/data"}}
    with _beside(docker, image, ["python", "-c", _BACKUP], volumes) as helper:
        _run(helper)
        chunks, _ = helper.get_archive(_COPY)
        with _ours():
            _unpack(chunks, to)


def write_brain(docker: Any, image: str, volume: str, brain: Path) -> None:
    """Put a file of ours in the brain's place. The Engine must be down."""
    volumes = {volume: {"bind": "/data"}}
    with (
        _beside(docker, image, ["/bin/sh", "-c", _MOVE_IN], volumes) as helper,
        tempfile.TemporaryFile() as spool,
    ):
        with _ours():
            _pack(brain, spool)
        helper.put_archive("/data", spool)
        _run(helper)


@contextmanager
def _beside(
    docker: Any, image: str, command: list[str], volumes: Mapping[str, Mapping[str, str]]
) -> Generator[Any]:
    program, *arguments = command
    helper = docker.containers.create(
        image, arguments, entrypoint=program, volumes=volumes, **_BESIDE
    )
    try:
        yield helper
    finally:
        helper.remove(force=True, v=True)


@contextmanager
def _ours() -> Generator[None]:
    """A file of ours that cannot be read or written is no sign that the daemon is away."""
    try:
        yield
    except OSError as error:
        raise BackendError(f"{error.filename or 'a copy'}: {error.strerror}") from error


def _run(helper: Any) -> None:
    helper.start()
    if helper.wait(timeout=_PATIENCE_S)["StatusCode"]:
        raise BackendError(helper.logs().decode(errors="replace").strip()[-500:])


def _unpack(chunks: Iterable[bytes], to: Path) -> None:
    """Write the one file of an archive that comes in chunks; a brain may not fit into memory."""
    with tempfile.TemporaryFile(dir=to.parent) as spool:
        spool.writelines(chunks)
        spool.seek(0)
        with tarfile.open(fileobj=spool) as archive, to.open("wb") as out:
            member = archive.extractfile(archive.getmembers()[0])
            assert member is not None
            shutil.copyfileobj(member, out)


def _pack(brain: Path, spool: Any) -> None:
    with tarfile.open(fileobj=spool, mode="w") as archive, brain.open("rb") as file:
        member = archive.gettarinfo(arcname=_ARRIVAL, fileobj=file)
        member.uid = member.gid = UID
        member.uname = member.gname = ""
        member.mode = 0o600
        archive.addfile(member, file)
    spool.seek(0)
