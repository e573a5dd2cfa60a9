"""Wall time of a turn that calls eight sub-agents at once, beside one that calls one, in one run.

    .venv/bin/python -m bench.sub_agents [--rounds 7] [--wait 1.0]

The model of each sub-agent is silent for `--wait` seconds, then answers: the time of a model call
that nobody can shorten. One Engine process, scripted provider, real HTTP; medians of alternating
rounds. The aim is OpenHands' stress budget: eight take less than 1.5 times the wall time of one.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, sleep

import httpx2

_KEY = "bench-key"
_MANY = 8
_RULES = """
name = "sub-agents"

[[rule]]
match = "^call one"
step = 0
steps = [{{ tool = "agent.writer", input = {{ task = "part 0" }} }}]

[[rule]]
match = "^call many"
step = 0
steps = [{calls}]

[[rule]]
match = "^part"
steps = [{{ wait_s = {wait} }}, {{ text = "Done." }}]

[[rule]]
match = "^call"
step = 1
steps = [{{ text = "All done." }}]
"""


@contextmanager
def engine(folder: Path, wait: float) -> Generator[str]:
    """An Engine that plays the rules; yields its address."""
    calls = ", ".join(
        f'{{ tool = "agent.writer", input = {{ task = "part {n}" }} }}' for n in range(_MANY)
    )
    rules = folder / "rules.toml"
    rules.write_text(_RULES.format(calls=calls, wait=wait))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {
        **os.environ,
        "ENGINE_API_KEY": _KEY,
        "ENGINE_PORT": str(port),
        "LLM_PROVIDER": "scripted",
        "SCRIPTED_RULES": str(rules),
        "SQLITE_DB_PATH": str(folder / "brain.sqlite"),
    }
    command = [sys.executable, "-m", "september", "engine"]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as running:
        try:
            _wait_until_it_serves(url)
            yield url
        finally:
            running.terminate()


def _wait_until_it_serves(url: str) -> None:
    for _ in range(600):
        try:
            if httpx2.get(f"{url}/health").is_success:
                return
        except httpx2.HTTPError:
            pass
        sleep(0.1)
    raise SystemExit("the Engine does not start")


def turn(client: httpx2.Client, task: str, message: str, results: int) -> float:
    """Seconds from the request to the end of its stream, in which so many calls were answered."""
    began = perf_counter()
    body = {"task_id": task, "message": message}
    with client.stream("POST", "/execute", json=body) as response:
        text = "".join(response.iter_text())
    took = perf_counter() - began
    if text.count("event: tool_result") != results or '"completed"' not in text:
        raise SystemExit(f"the turn went wrong: {text[-500:]}")
    return took


def main() -> None:
    """Print both medians and their ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--wait", type=float, default=1.0)
    given = parser.parse_args()
    one: list[float] = []
    many: list[float] = []
    with tempfile.TemporaryDirectory() as folder, engine(Path(folder), given.wait) as url:
        headers = {"X-Engine-Key": _KEY}
        with httpx2.Client(base_url=url, headers=headers, timeout=120) as client:
            turn(client, "warm", "call one", 1)
            for number in range(given.rounds):
                one.append(turn(client, f"one-{number}", "call one", 1))
                many.append(turn(client, f"many-{number}", "call many", _MANY))
    low, high = statistics.median(one), statistics.median(many)
    print(f"one sub-agent    {low:.3f} s")
    print(f"{_MANY} sub-agents     {high:.3f} s")
    print(f"ratio            {high / low:.2f}")


if __name__ == "__main__":
    main()
