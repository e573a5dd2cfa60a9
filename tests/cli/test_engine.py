"""`september engine` and `september demo` as processes."""

import signal
import subprocess
from pathlib import Path

import httpx2
import psutil
import pytest

from .conftest import Run
from .engines import SEPTEMBER, clean_environment, running_engine, scripted


def test_an_engine_answers_and_stops_at_sigterm(tmp_path: Path) -> None:
    with running_engine(tmp_path) as engine:
        assert httpx2.get(f"{engine.url}/health").status_code == 200


def test_it_says_where_it_listens(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*SEPTEMBER, "engine"],
        env=scripted(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("Engine ready at http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("arguments", "settings", "said"),
    [
        ([], {}, "ENGINE_KEY_HASH: is missing; set it"),
        ([], {"ENGINE_API_KEY": "k"}, "LLM_API_KEY: is missing; set it or OPENAI_API_KEY"),
        (["--provider", "gpt"], {"ENGINE_API_KEY": "k"}, "LLM_PROVIDER: must be one of"),
        (["--port", "99999"], {"ENGINE_API_KEY": "k"}, "ENGINE_PORT: must be a port"),
        (["--port", "x"], {"ENGINE_API_KEY": "k"}, "'x' is not a valid integer"),
        (
            ["--provider", "scripted", "--brain", "/proc/brain.sqlite"],
            {"ENGINE_API_KEY": "k"},
            "SQLITE_DB_PATH: ",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_its_remedy(
    run: Run, arguments: list[str], settings: dict[str, str], said: str
) -> None:
    done = run("engine", *arguments, **settings)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_engine_does_not_outlive_who_started_it(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [*SEPTEMBER, "demo", "--data", str(tmp_path)],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    with demo:
        assert demo.stdout is not None
        assert any("stays up" in line for line in demo.stdout)
        (engine,) = psutil.Process(demo.pid).children()
        demo.kill()
    assert engine.wait(30) is None or not engine.is_running()


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> "subprocess.CompletedProcess[str]":
    """One demonstration from beginning to end."""
    return subprocess.run(
        [*SEPTEMBER, "demo", "--once", "--data", str(tmp_path_factory.mktemp("data"))],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_demonstration_completes_and_leaves(
    played: "subprocess.CompletedProcess[str]",
) -> None:
    assert played.returncode == 0, played.stdout + played.stderr
    assert "NOT a language model" in played.stdout
    assert "— completed" in played.stdout


@pytest.mark.parametrize("tool", ["memory_episode_write", "write_file", "read_file", "bash"])
def test_the_demonstration_uses_the_tool(
    played: "subprocess.CompletedProcess[str]", tool: str
) -> None:
    assert f"✓ {tool}" in played.stdout, played.stdout


def test_a_demonstration_with_a_provider_but_no_key_says_so(run: Run) -> None:
    done = run("demo", "--once", LLM_PROVIDER="anthropic", LLM_MODEL="x")
    assert done.returncode == 0, done.stderr
    assert "LLM_PROVIDER=anthropic has no key" in done.stdout


def test_each_demonstration_has_a_fresh_brain(run: Run, tmp_path: Path) -> None:
    assert run("demo", "--once").returncode == 0
    assert run("demo", "--once").returncode == 0
    assert len(list((tmp_path / "data" / "first-run").glob("*/brain.sqlite"))) == 2


def test_an_engine_that_cannot_start_is_quoted(run: Run) -> None:
    done = run("demo", "--once", ENGINE_HOST="192.0.2.1")
    assert done.returncode == 1
    assert "the Engine did not start" in done.stderr
    assert "engine.log" in done.stderr


def test_a_folder_that_cannot_be_made_is_named(run: Run) -> None:
    done = run("demo", "--once", "--data", "/dev/null/x")
    assert done.returncode == 2
    assert "cannot make /dev/null/x/" in done.stderr
