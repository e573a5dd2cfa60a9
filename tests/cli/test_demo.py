"""`september demo`, which is what `./run` does: the whole system, and one Engine alone."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import psutil
import pytest

from .conftest import Run
from .engines import SEPTEMBER, clean_environment

STEPS = ("orchestrator", "product", "provision", "admit")


def demo(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*SEPTEMBER, "demo", "--once", "--data", str(folder), *arguments],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def processes_of(folder: Path) -> list[psutil.Process]:
    """Whatever runs on files below a folder."""

    def concerns(process: psutil.Process) -> bool:
        try:
            told = [*process.cmdline(), process.cwd(), *process.environ().values()]
        except psutil.Error:
            return False
        return process.pid != os.getpid() and any(str(folder) in text for text in told)

    return [process for process in psutil.process_iter() if concerns(process)]


@pytest.fixture(scope="module")
def played(open_folder: Path) -> "subprocess.CompletedProcess[str]":
    """One demonstration from beginning to end."""
    return demo(open_folder)


def test_it_completes_and_leaves_nothing_running(
    played: "subprocess.CompletedProcess[str]", open_folder: Path
) -> None:
    assert played.returncode == 0, played.stdout + played.stderr
    assert "NOT a language model" in played.stdout
    assert "— completed" in played.stdout
    assert processes_of(open_folder) == []


def test_it_tells_each_step_and_shows_the_fleet(
    played: "subprocess.CompletedProcess[str]",
) -> None:
    told = re.findall(r"^  (\w+) +\S", played.stdout.partition("\n> ")[0], re.MULTILINE)
    assert tuple(told) == STEPS
    (url,) = re.findall(r"^  admit +ada goes on at (\S+), with a key", played.stdout, re.MULTILINE)
    table = played.stdout.rpartition("— completed")[2]
    assert re.search(rf"^ada +running +demo +\S+ +{re.escape(url)}", table, re.MULTILINE), table


@pytest.mark.parametrize("tool", ["memory_episode_write", "write_file", "read_file", "bash"])
def test_it_uses_the_tool(played: "subprocess.CompletedProcess[str]", tool: str) -> None:
    assert f"✓ {tool}" in played.stdout, played.stdout


def test_nothing_outlives_a_demonstration_that_is_killed(open_folder: Path) -> None:
    started = subprocess.Popen(
        [*SEPTEMBER, "demo", "--data", str(open_folder)],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    with started:
        assert started.stdout is not None
        assert any("stays up" in line for line in started.stdout)
        ours = [one for one in processes_of(open_folder) if one.pid != started.pid]
        names = " ".join(word for one in ours for word in one.cmdline())
        assert "orchestrator" in names and "engine" in names and "postgres" in names
        started.kill()
        _, alive = psutil.wait_procs(ours, timeout=30)
    assert alive == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root runs PostgreSQL as somebody else")
def test_root_plays_it_where_nobody_else_may_go(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    played = demo(closed)
    assert played.returncode == 0, played.stdout + played.stderr
    said = re.match(r"PostgreSQL runs as nobody, .*; see (/var/tmp/\S+)", played.stdout)
    assert said is not None, played.stdout
    shutil.rmtree(said[1])


def test_a_provider_without_a_key_is_told(run: Run) -> None:
    done = run("demo", "--once", "--engine-only", LLM_PROVIDER="anthropic", LLM_MODEL="x")
    assert done.returncode == 0, done.stderr
    assert "LLM_PROVIDER=anthropic has no key" in done.stdout


def test_each_engine_alone_has_a_fresh_brain(run: Run, tmp_path: Path) -> None:
    assert run("demo", "--once", "--engine-only").returncode == 0
    assert run("demo", "--once", "--engine-only").returncode == 0
    assert len(list((tmp_path / "data" / "first-run").glob("*/brain.sqlite"))) == 2


def test_an_engine_alone_that_cannot_start_is_quoted(run: Run) -> None:
    done = run("demo", "--once", "--engine-only", ENGINE_HOST="192.0.2.1")
    assert done.returncode == 1
    assert "the engine did not start" in done.stderr
    assert "engine.log" in done.stderr


def test_an_engine_of_the_fleet_that_cannot_start_is_quoted(run: Run, open_folder: Path) -> None:
    rules = {"SCRIPTED_RULES": "/nowhere/rules.toml"}
    done = run("demo", "--once", "--data", str(open_folder), **rules)
    assert done.returncode == 1
    assert "SCRIPTED_RULES" in done.stderr and "engine.log" in done.stderr


def test_a_folder_that_cannot_be_made_is_named(run: Run) -> None:
    done = run("demo", "--once", "--data", "/dev/null/x")
    assert done.returncode == 2
    assert "cannot make /dev/null/x/" in done.stderr
