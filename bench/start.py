"""Process start to the first 200 on /health, its CPU, and the memory of an idle Engine.

    .venv/bin/python -m bench.start [--rounds 7]

Memory is PSS: private pages, and a fair share of those shared with other processes. The bare
interpreter, and a bare Quart-Trio app on hypercorn, stand beside it.
"""

import argparse
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, perf_counter, sleep

import psutil
from rich.console import Console
from rich.table import Table

_BARE = """
import sys, trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart_trio import QuartTrio
app = QuartTrio("bare")
@app.get("/health")
async def health():
    return {"status": "ok"}
config = Config()
config.bind = ["127.0.0.1:" + sys.argv[1]]
config.errorlog = None
trio.run(serve, app, config)
"""


@dataclass(frozen=True)
class Reading:
    """Seconds to the first 200, CPU seconds of the process until then, PSS in MB when idle."""

    ready: float
    cpu: float
    memory: float


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def healthy(port: int) -> bool:
    """Whether /health answers 200."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def pss(pid: int) -> float:
    """Proportional set size in MB."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def computed(pid: int) -> float:
    """Seconds of processor time that a process has used, all threads together."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def measure(start: Callable[[int], "subprocess.Popen[bytes]"]) -> Reading:
    """Start a server, wait for its first 200, let it settle, weigh it, end it."""
    port = free_port()
    began = perf_counter()
    with start(port) as process:
        try:
            limit = monotonic() + 30
            while not healthy(port):
                if process.poll() is not None or monotonic() > limit:
                    raise SystemExit("the server did not start")
                sleep(0.005)
            ready, cpu = perf_counter() - began, computed(process.pid)
            sleep(1.0)
            return Reading(ready, cpu, pss(process.pid))
        finally:
            process.terminate()


def engine(port: int) -> "subprocess.Popen[bytes]":
    """A real Engine on a fresh brain."""
    folder = tempfile.mkdtemp()
    env = {
        "PATH": os.environ["PATH"],
        "ENGINE_API_KEY": "bench",
        "ENGINE_PORT": str(port),
        "LLM_PROVIDER": "anthropic",
        "LLM_MODEL": "bench",
        "LLM_API_KEY": "bench",
        "SQLITE_DB_PATH": f"{folder}/brain.sqlite",
        "ENGINE_LOG_LEVEL": "WARNING",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "september", "engine"], env=env, cwd="/", stderr=subprocess.DEVNULL
    )


def bare(port: int) -> "subprocess.Popen[bytes]":
    """The least that could serve /health on the same stack."""
    return subprocess.Popen([sys.executable, "-c", _BARE, str(port)])


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    servers = {"September": engine, "bare Quart-Trio": bare}
    readings: dict[str, list[Reading]] = {name: [] for name in servers}
    for _ in range(rounds):
        for name, start in servers.items():
            readings[name].append(measure(start))
    table = Table(title=f"Start and idle memory (medians of {rounds})")
    for heading in ("", "first 200, s", "worst, s", "CPU, s", "idle PSS, MB"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, found in readings.items():
        ready = [one.ready for one in found]
        cpu = statistics.median(one.cpu for one in found)
        memory = statistics.median(one.memory for one in found)
        shown = (statistics.median(ready), max(ready), cpu)
        table.add_row(name, *(f"{seconds:.2f}" for seconds in shown), f"{memory:.0f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
