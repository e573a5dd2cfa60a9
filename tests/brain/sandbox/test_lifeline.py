"""An Engine that is killed takes its commands with it; an ordinary user's sandbox works too."""

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from .nobody import IDENTITY, NOBODY, SYSTEM_PYTHON, as_nobody, needs_nobody

Until = Callable[[Callable[[], bool]], Awaitable[float]]

ENGINE = """
import sys, trio
from pathlib import Path
from september.actors.testing import running
from september.brain.sandbox.sandbox import RunCommand, Sandbox, run_command

async def main(mode, workspace, *commands):
    async with running(Sandbox(mode=mode)) as sandbox, trio.open_nursery() as nursery:
        async def one(command):
            result = await run_command(sandbox, RunCommand(command, Path(workspace), ()))
            sys.stdout.write(f"{result.exit_code}:{result.output}")
        for command in commands:
            nursery.start_soon(one, command)

trio.run(main, *sys.argv[1:])
"""


@pytest.mark.crash
@pytest.mark.parametrize("mode", ["bubblewrap", "none"])
async def test_kill_9_of_the_engine_leaves_no_command_behind(
    mode: str, workspace: Path, token: str, left: Callable[[], int], until: Until
) -> None:
    hidden = f"(setsid bash -c 'nohup sleep {token} >/dev/null 2>&1 &'); sleep {token}"
    engine = await trio.lowlevel.open_process(
        [sys.executable, "-c", ENGINE, mode, workspace, hidden, f"sleep {token}"]
    )
    await until(lambda: left() == 3)
    os.kill(engine.pid, signal.SIGKILL)
    assert await until(lambda: left() == 0) < 1
    await engine.wait()


@pytest.mark.crash
@pytest.mark.parametrize("mode", ["bubblewrap", "none"])
async def test_no_moment_of_a_kill_is_too_early(mode: str, workspace: Path) -> None:
    """From before the guard is forked until the command runs, nothing outlives the Engine."""
    killing = [sys.executable, str(KILLING), mode, str(workspace), "15"]
    slowest = await trio.run_process(killing, capture_stdout=True)
    assert float(slowest.stdout) < 1


KILLING = Path(__file__).with_name("killed_at_every_moment.py")


@pytest.mark.crash
async def test_a_command_outlives_the_threads_of_the_engine(workspace: Path) -> None:
    """PR_SET_PDEATHSIG follows the thread that started the program, and trio's threads retire."""
    retire_early = "import trio._core._thread_cache as cache; cache.IDLE_TIMEOUT = 0.05"
    done = await trio.run_process(
        [sys.executable, "-c", retire_early + ENGINE, "bubblewrap", workspace, LATE],
        capture_stdout=True,
    )
    assert done.stdout == b"0:late\n"


LATE = "sleep 0.5; echo late"


@pytest.mark.crash
@needs_nobody
async def test_an_ordinary_user_is_confined_as_well(tmp_path: Path) -> None:
    workspace = tmp_path / "nobody"
    workspace.mkdir()
    os.chown(workspace, NOBODY, NOBODY)
    bomb = "for i in $(seq 400); do sleep 30 & done 2>/dev/null; jobs | wc -l"
    attempts = f"touch mine && ls && ! touch {tmp_path}/other 2>/dev/null && ! ls /root && {bomb}"
    done = await trio.run_process(
        [SYSTEM_PYTHON, "-c", ENGINE, "bubblewrap", workspace, attempts],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env=as_nobody(workspace),
        **IDENTITY,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"mine" in done.stdout
    assert (workspace / "mine").exists()
    assert b"400" not in done.stdout
