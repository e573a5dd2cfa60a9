"""What an earlier Engine left behind is put down; what belongs to somebody is left alone."""

import subprocess
import sys
from pathlib import Path

import trio

from september.actors.testing import running
from september.brain.sandbox.orphans import put_down
from september.brain.sandbox.sandbox import Describe, Sandbox

_PRETEND = "import os, sys; os.execvp(sys.executable, ['bwrap', '-c', sys.argv[1], *sys.argv[2:]])"
_SLEEP = "import signal; print('up', flush=True); signal.pause()"


def pretend_sandbox(workspace: Path, *, orphaned: bool) -> "subprocess.Popen[bytes]":
    """A process that looks like bubblewrap; orphaned, its parent is gone before it starts."""
    command = [sys.executable, "-c", _PRETEND, _SLEEP, "--bind", str(workspace), str(workspace)]
    if orphaned:
        script = f"import subprocess, sys; subprocess.Popen({command!r})"
        command = [sys.executable, "-c", script]
    started = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert started.stdout is not None
    assert started.stdout.readline() == b"up\n"
    if orphaned:
        started.wait()
    return started


async def ended(process: "subprocess.Popen[bytes]") -> None:
    """Wait until whoever holds the other end of the pipe is gone."""
    assert process.stdout is not None
    with trio.fail_after(5):
        assert await trio.to_thread.run_sync(process.stdout.read) == b""
    process.stdout.close()


async def test_an_orphan_of_this_brain_is_put_down_at_the_next_start(tmp_path: Path) -> None:
    orphan = pretend_sandbox(tmp_path / "workspaces" / "task", orphaned=True)
    async with running(Sandbox(workspaces=tmp_path / "workspaces")) as sandbox:
        await sandbox.call(Describe())
        await ended(orphan)


async def test_another_brains_orphan_and_a_living_parents_child_are_left(tmp_path: Path) -> None:
    other = pretend_sandbox(tmp_path / "workspaces-of-another" / "task", orphaned=True)
    child = pretend_sandbox(tmp_path / "workspaces" / "task", orphaned=False)
    try:
        assert put_down(tmp_path / "workspaces") == 0
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()
        assert put_down(tmp_path / "workspaces-of-another") == 1
        await ended(other)
        await ended(child)
