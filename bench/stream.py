"""Time to the first frame and relayed deltas, beside a plain FastAPI pass-through, in one run.

    .venv/bin/python -m bench.stream [--rounds 7] [--deltas 20000]

Both relay the same model server through the same Anthropic SDK; ours also runs the agent loop,
gives every event an id and commits it to SQLite before it is sent. Medians of alternating
rounds; only the ratios travel.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit

import psutil
from rich.console import Console
from rich.table import Table

_PEERS = Path(__file__).with_name("stream_peers.py")
_KEY = "bench-key"


@dataclass(frozen=True)
class Reading:
    """One request. Times in seconds from the request's first byte sent; `cpu` is the server's."""

    first_frame: float
    first_delta: float
    whole: float
    cpu: float = 0.0


@dataclass(frozen=True)
class Server:
    """A running server: the line that it printed first, and its process."""

    line: str
    pid: int

    def cpu(self) -> float:
        """Seconds of processor time that it has used, all threads together."""
        times = psutil.Process(self.pid).cpu_times()
        return times.user + times.system


@contextmanager
def process(command: list[str], env: dict[str, str] | None = None) -> Generator[Server]:
    """Run a server that prints its port or URL on a line of its own."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) as running:
        assert running.stdout is not None
        try:
            yield Server(running.stdout.readline().strip(), running.pid)
        finally:
            running.kill()


@contextmanager
def engine(model_url: str, folder: str) -> Generator[Server]:
    """A real Engine process with a fresh brain."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": folder,
        "ENGINE_API_KEY": _KEY,
        "ENGINE_PORT": "0",
        "LLM_PROVIDER": "anthropic",
        "LLM_MODEL": "bench",
        "LLM_API_KEY": "bench",
        "ANTHROPIC_BASE_URL": model_url,
        "SQLITE_DB_PATH": f"{folder}/brain.sqlite",
        "ENGINE_LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-c", _START]
    with process(command, env) as server:
        yield server


_START = """
import os, sys
from september.config import load_engine_config
from september.http.serve import run_engine
sys.exit(run_engine(load_engine_config(os.environ), on_ready=lambda url: print(url, flush=True)))
"""


def read_turn(url: str, message: str, task: str) -> Reading:
    """POST a message over a fresh connection and read the stream to its end."""
    place = urlsplit(url)
    body = f'{{"message":"{message}","task_id":"{task}"}}'.encode()
    head = (
        f"POST /execute HTTP/1.1\r\nHost: bench\r\nX-Engine-Key: {_KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    with socket.create_connection((place.hostname or "", place.port or 0)) as connection:
        began = perf_counter()
        connection.sendall(head + body)
        return _read(connection, began)


def _read(connection: socket.socket, began: float) -> Reading:
    first_frame = first_delta = 0.0
    tail = b""
    while True:
        data = connection.recv(1 << 18)
        now = perf_counter() - began
        if not data:
            raise SystemExit("the server closed the stream before its end: " + repr(tail[-300:]))
        seen, tail = tail + data, (tail + data)[-200:]
        if not first_frame and b"event: " in seen:
            first_frame = now
        if not first_delta and b"event: text_delta" in seen:
            first_delta = now
        if b'"phase":"completed"' in seen:
            return Reading(first_frame, first_delta, now)
        if b"event: error" in seen:
            raise SystemExit("the turn failed: " + repr(seen[-500:]))


def measure(
    server: Server, url: str, name: str, rounds: int, deltas: int
) -> tuple[list[Reading], list[Reading]]:
    """One round: several short turns for latency, one long turn for throughput."""
    short = [read_turn(url, "deltas=5", f"{name}-s{rounds}-{n}") for n in range(10)]
    before = server.cpu()
    long = read_turn(url, f"deltas={deltas}", f"{name}-l{rounds}")
    return short, [replace(long, cpu=server.cpu() - before)]


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--deltas", type=int, default=20_000)
    options = parser.parse_args()
    readings: dict[str, tuple[list[Reading], list[Reading]]] = {}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        model = stack.enter_context(process([sys.executable, str(_PEERS), "model"]))
        model_url = f"http://127.0.0.1:{model.line}"
        peer = stack.enter_context(process([sys.executable, str(_PEERS), "fastapi", model_url]))
        ours = stack.enter_context(engine(model_url, folder))
        servers = {
            "September": (ours, ours.line),
            "FastAPI": (peer, f"http://127.0.0.1:{peer.line}"),
        }
        for name, (server, url) in servers.items():
            measure(server, url, f"{name}-warm", 0, 500)
            readings[name] = ([], [])
        for number in range(options.rounds):
            for name, (server, url) in servers.items():
                short, long = measure(server, url, name, number, options.deltas)
                readings[name][0].extend(short)
                readings[name][1].extend(long)
    _print(readings, options.deltas)


def _print(readings: dict[str, tuple[list[Reading], list[Reading]]], deltas: int) -> None:
    table = Table(title="One turn, relayed (medians)")
    for heading in ("", "first frame ms", "first delta ms", "deltas/s", "CPU us a delta"):
        table.add_column(heading, justify="left" if not heading else "right")
    figures: dict[str, tuple[float, float, float, float]] = {}
    for name, (short, long) in readings.items():
        figures[name] = (
            statistics.median(r.first_frame for r in short) * 1000,
            statistics.median(r.first_delta for r in short) * 1000,
            statistics.median(deltas / (r.whole - r.first_delta) for r in long),
            statistics.median(r.cpu / deltas for r in long) * 1e6,
        )
        frame, delta, rate, cpu = figures[name]
        table.add_row(name, f"{frame:.2f}", f"{delta:.2f}", f"{rate:,.0f}", f"{cpu:.1f}")
    ours, theirs = figures["September"], figures["FastAPI"]
    table.add_row(
        "difference / ratio",
        f"{ours[0] - theirs[0]:+.2f} ms",
        f"{ours[1] - theirs[1]:+.2f} ms",
        f"{ours[2] / theirs[2]:.2f}x",
        f"{ours[3] / theirs[3]:.2f}x",
    )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
