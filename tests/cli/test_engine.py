"""`september engine` as a process."""

import signal
import subprocess
from pathlib import Path

import httpx2
import pytest

from .conftest import Run
from .engines import SEPTEMBER, running_engine, scripted


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
