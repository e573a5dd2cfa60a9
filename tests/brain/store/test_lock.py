"""One Engine per brain."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from september.actors.testing import running
from september.brain.store.brain_file import BrainFile
from september.brain.store.lock import BrainLock
from september.brain.store.store import Store
from september.errors import ConfigError, SeptemberError

HOLD = """
import sys
from pathlib import Path
from september.brain.store.lock import BrainLock
lock = BrainLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_the_second_is_refused_with_the_pid_and_the_file_of_the_first(tmp_path: Path) -> None:
    brain = tmp_path / "brain.sqlite"
    with BrainLock(brain):
        with pytest.raises(SeptemberError) as refused:
            BrainLock(brain)
    assert refused.value.code == "BRAIN_LOCKED"
    assert f"process {os.getpid()}" in refused.value.message
    assert str(brain) in refused.value.message and f"{brain}.lock" in refused.value.message
    assert refused.value.details["pid"] == os.getpid()


def test_a_released_lock_can_be_taken_again(tmp_path: Path) -> None:
    for _ in range(3):
        BrainLock(tmp_path / "brain.sqlite").release()


def test_two_brains_do_not_lock_each_other(tmp_path: Path) -> None:
    with BrainLock(tmp_path / "a.sqlite"), BrainLock(tmp_path / "b.sqlite"):
        pass


def test_a_lock_file_without_a_pid_still_locks(tmp_path: Path) -> None:
    brain = tmp_path / "brain.sqlite"
    with BrainLock(brain) as lock:
        lock.path.write_text("not a pid")
        with pytest.raises(SeptemberError, match="another process"):
            BrainLock(brain)


def test_a_lock_that_cannot_be_made_is_a_setting_to_change(tmp_path: Path) -> None:
    (tmp_path / "brain.sqlite.lock").mkdir()
    with pytest.raises(ConfigError, match="cannot lock"):
        BrainLock(tmp_path / "brain.sqlite")


async def test_a_running_store_holds_the_lock_until_it_stops(tmp_path: Path) -> None:
    brain = BrainFile(tmp_path / "brain.sqlite")
    async with running(Store(brain)):
        with pytest.raises(SeptemberError, match="in use"):
            BrainLock(brain.path)
    BrainLock(brain.path).release()


@pytest.mark.crash
def test_a_process_that_is_killed_lets_go_of_the_brain(tmp_path: Path) -> None:
    brain = tmp_path / "brain.sqlite"
    command = [sys.executable, "-c", HOLD, str(brain)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout and holder.stdout.readline() == b"held\n"
        with pytest.raises(SeptemberError, match=f"process {holder.pid}"):
            BrainLock(brain)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        BrainLock(brain).release()
