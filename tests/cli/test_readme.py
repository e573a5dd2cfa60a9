"""What README.md shows of a turn is what an Engine sends."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from .engines import SEPTEMBER, clean_environment

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An Engine that plays the built-in script, as after `./run`."""
    brain = tmp_path_factory.mktemp("readme") / "brain.sqlite"
    environment = clean_environment(
        LLM_PROVIDER="scripted", ENGINE_API_KEY="k", SQLITE_DB_PATH=str(brain), ENGINE_PORT="0"
    )
    process = subprocess.Popen(
        [*SEPTEMBER, "engine"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None
        yield process.stderr.readline().removeprefix("Engine ready at ").strip()
        process.terminate()
        assert process.wait(30) == 0


@pytest.fixture(scope="module")
def streamed(url: str) -> str:
    """The answer to the call in the README."""
    body = re.search(r"-d '(\{.*?\})'", README)
    assert body is not None
    headers = {"X-Engine-Key": "k"}
    return httpx2.post(f"{url}/execute", json=json.loads(body[1]), headers=headers).text


def test_the_call_in_the_readme_gives_the_frames_in_the_readme(streamed: str) -> None:
    shown = re.findall(r"^event: (\w+)\ndata: (.*)$", README, re.MULTILINE)
    assert len(shown) == 2
    for event, data in shown:
        pattern = re.escape(data).replace("…", r"\w+")
        pattern = re.sub(r'"duration_ms":\d+', r'"duration_ms":\\d+', pattern)
        assert re.search(f"^event: {event}\ndata: {pattern}$", streamed, re.MULTILINE), event


def test_the_replay_in_the_readme_sends_what_came_after(url: str, streamed: str) -> None:
    headers = {"X-Engine-Key": "k", "Last-Event-ID": "4"}
    answer = httpx2.get(f"{url}/execute/replay?task_id=first", headers=headers)
    assert answer.text.startswith("id: 5\n")
    assert streamed.endswith(answer.text)
