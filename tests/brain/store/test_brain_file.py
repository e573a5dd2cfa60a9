"""Places where a brain cannot be: each is refused with the path, the cause and the remedy."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from september.brain.store.brain_file import BrainFile
from september.errors import ConfigError, SeptemberError

OPEN = """
import sys, trio
from pathlib import Path
from september.actors.testing import running
from september.brain.store.brain_file import BrainFile
from september.brain.store.database import Database
from september.brain.store.store import Store
from september.errors import SeptemberError

async def main():
    async with running(Store(BrainFile(Path(sys.argv[1])))) as store:
        blob = "x" * 100_000
        for number in range(200):
            row = (str(number), blob)
            await Database(store).write(
                lambda db: db.execute("INSERT INTO brain_meta VALUES (?, ?)", row).fetchall()
            )

try:
    trio.run(main)
except BaseException as error:
    while error is not None and not isinstance(error, SeptemberError):
        error = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__
    print(error.message)
"""
"""Opens a brain, writes up to 20 MB, and prints what it is refused with."""


def told(path: Path, *before: str) -> str:
    """What a process of its own, started through the command `before`, hears about `path`."""
    command = [*before, sys.executable, "-c", OPEN, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def on_tmpfs(folder: Path, options: str, after: str = "") -> list[str]:
    """A command that runs the rest with a file system of its own at `folder`."""
    mount = f'mount -t tmpfs -o {options} tmpfs {folder} && {after or "true"} && exec "$@"'
    return ["unshare", *([] if os.geteuid() == 0 else ["-Ur"]), "-m", "sh", "-c", mount, "sh"]


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    flags = ["-m"] if os.geteuid() == 0 else ["-Urm"]
    probe = ["unshare", *flags, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


needs_mounts = pytest.mark.skipif(not can_mount(), reason="may not mount a tmpfs here")


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    BrainFile(tmp_path / "a" / "b" / "brain.sqlite").prepare()
    assert (tmp_path / "a" / "b").is_dir()


def test_a_path_that_is_a_directory_is_refused_with_a_file_to_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a directory") as refused:
        BrainFile(tmp_path).prepare()
    assert refused.value.details == {"variable": "SQLITE_DB_PATH"}
    assert str(tmp_path / "brain.sqlite") in refused.value.message


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(ConfigError, match="cannot make the folder"):
        BrainFile(tmp_path / "data" / "brain.sqlite").prepare()


def test_a_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too long"):
        BrainFile(tmp_path / ("x" * 300) / "brain.sqlite").prepare()


@pytest.mark.parametrize("start", [b"SQLite format 2\x00", b"\x00" * 100, b"{}"])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(
    tmp_path: Path, start: bytes
) -> None:
    path = tmp_path / "brain.sqlite"
    path.write_bytes(start)
    with pytest.raises(SeptemberError, match="left as it is") as refused:
        BrainFile(path).prepare()
    assert refused.value.code == "BRAIN_UNUSABLE"
    assert path.read_bytes() == start


def test_an_empty_file_is_a_brain_to_be(tmp_path: Path) -> None:
    path = tmp_path / "brain.sqlite"
    path.touch()
    BrainFile(path).prepare()


@needs_mounts
def test_a_read_only_file_system_is_named(tmp_path: Path) -> None:
    readonly = on_tmpfs(tmp_path, "size=1m", f"mount -o remount,ro {tmp_path}")
    message = told(tmp_path / "brain.sqlite", *readonly)
    assert "read-only file system" in message and "read-write" in message
    assert message.startswith("SQLITE_DB_PATH")


@needs_mounts
def test_a_full_disk_is_named_with_the_space_that_is_left(tmp_path: Path) -> None:
    path = tmp_path / "brain.sqlite"
    message = told(path, *on_tmpfs(tmp_path, "size=4m"))
    assert str(path) in message and "bytes are free" in message and "Make room" in message


@needs_mounts
@pytest.mark.parametrize("spare_kib", [0, 4, 40, 120])
def test_a_disk_without_room_for_a_new_brain_is_named(tmp_path: Path, spare_kib: int) -> None:
    fill = f"dd if=/dev/zero of={tmp_path}/fill bs=1k count={1024 - spare_kib} status=none"
    message = told(tmp_path / "brain.sqlite", *on_tmpfs(tmp_path, "size=1m", fill))
    assert "Make room" in message


NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c"]
PREPARE = """
import sys
from pathlib import Path
from september.brain.store.brain_file import BrainFile
BrainFile(Path(sys.argv[1])).prepare()
"""


def prepare_as_nobody(path: Path) -> subprocess.CompletedProcess[str]:
    command = [*NOBODY, PREPARE, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that every user can reach, unlike tmp_path."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    folder.chmod(0o777)
    if os.geteuid() or not shutil.which("setpriv") or prepare_as_nobody(folder / "x").returncode:
        pytest.skip("cannot run this checkout as another user")
    yield folder
    shutil.rmtree(folder)


def test_a_folder_that_this_user_may_not_write_is_named(public_folder: Path) -> None:
    public_folder.chmod(0o755)
    for path in (public_folder / "brain.sqlite", public_folder / "deeper" / "brain.sqlite"):
        refused = prepare_as_nobody(path).stderr
        assert "ConfigError" in refused and str(public_folder) in refused


def test_a_file_that_this_user_may_not_write_is_named(public_folder: Path) -> None:
    path = public_folder / "brain.sqlite"
    path.touch(mode=0o644)
    assert f"user 65534 may not write {path}" in prepare_as_nobody(path).stderr
