"""How fast events reach clients: this HTTP side and FastAPI on uvicorn, side by side.

    .venv/bin/python -m bench.sse [--rounds 3]

Each case is one POST /execute with a key and a JSON body, answered with small SSE frames.
`ready`: the frames are there already; `relayed`: another task hands over one frame at a time.
The servers take turns and the figures are medians of the rounds. Client and server are processes
of their own; on few cores they disturb each other, so only ratios mean something. The server's
CPU time per frame is also given: other work on the machine disturbs it least.
"""

import argparse
import os
import selectors
import socket
import statistics
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final, TypeAlias, cast

import psutil

_PEERS: Final = Path(__file__).with_name("sse_peers.py")
_KEY: Final = "bench-key"
_SERVERS: Final = ("september", "fastapi")


@dataclass(frozen=True)
class Case:
    """`clients` at once, each reading a stream of `frames`, made in the given way."""

    name: str
    how: str
    clients: int
    frames: int


CASES: Final = (
    Case("1 client, ready", "ready", 1, 30_000),
    Case("1 client, relayed", "relayed", 1, 20_000),
    Case("10 clients, ready", "ready", 10, 3_000),
    Case("10 clients, relayed", "relayed", 10, 2_000),
)


def request(how: str, frames: int) -> bytes:
    """A POST /execute for a stream made in this way."""
    body = b'{"task_id":"t","message":"%b %d"}' % (how.encode(), frames)
    return (
        b"POST /execute HTTP/1.1\r\nHost: bench\r\nX-Engine-Key: %b\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        % (_KEY.encode(), len(body), body)
    )


def frames_per_second(port: int, case: Case) -> float:
    """Read all streams of a case to their end."""
    began = perf_counter()
    received = 0
    with selectors.DefaultSelector() as selector:
        for _ in range(case.clients):
            client = socket.create_connection(("127.0.0.1", port))
            client.sendall(request(case.how, case.frames))
            selector.register(client, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                client = cast("socket.socket", key.fileobj)
                data = client.recv(2**18)
                received += data.count(b"text_delta")
                if not data or data.endswith(b"0\r\n\r\n"):
                    selector.unregister(client)
                    client.close()
    total = case.clients * case.frames
    if abs(received - total) > total // 100:  # a mark that a read cuts in two is not counted
        raise RuntimeError(f"{received} of {total} frames arrived")
    return total / (perf_counter() - began)


def first_byte_ms(port: int, *, times: int = 100) -> float:
    """Median time from the request to the first frame, on a connection that is kept alive."""
    spent: list[float] = []
    with socket.create_connection(("127.0.0.1", port)) as client:
        for _ in range(times):
            began = perf_counter()
            client.sendall(request("ready", 1))
            received = b""
            while b"text_delta" not in received:
                received += client.recv(65536)
            spent.append((perf_counter() - began) * 1000)
            while not received.endswith(b"0\r\n\r\n"):
                received += client.recv(65536)
    return statistics.median(spent)


@dataclass(frozen=True)
class Server:
    """A server in a process of its own."""

    port: int
    process: psutil.Process

    @property
    def cpu_seconds(self) -> float:
        """CPU time it has used so far."""
        times = self.process.cpu_times()
        return times.user + times.system


@contextmanager
def running(server: str) -> Generator[Server, None, None]:
    """Run a server; it prints its port when it listens."""
    command = [sys.executable, str(_PEERS), server]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield Server(int(process.stdout.readline()), psutil.Process(process.pid))
        finally:
            process.kill()


Figures: TypeAlias = dict[str, dict[str, list[float]]]
"""By row, by server: one figure for each round."""


def measure(server: Server, name: str, figures: Figures) -> None:
    """Run every case once against one server."""

    def note(row: str, value: float) -> None:
        figures.setdefault(row, {}).setdefault(name, []).append(value)

    first_byte_ms(server.port)  # warms the server up
    note("first byte, ms", first_byte_ms(server.port))
    for case in CASES:
        before = server.cpu_seconds
        note(f"{case.name}, frames/s", frames_per_second(server.port, case))
        used = server.cpu_seconds - before
        note(f"{case.name}, CPU us", used / (case.clients * case.frames) * 1e6)


def compare(rounds: int) -> dict[str, dict[str, float]]:
    """Median figures of both servers, by row."""
    figures: Figures = {}
    for _ in range(rounds):
        for name in _SERVERS:
            with running(name) as server:
                measure(server, name, figures)
    return {
        row: {name: statistics.median(values) for name, values in servers.items()}
        for row, servers in figures.items()
    }


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds: int = parser.parse_args().rounds
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {rounds} rounds")
    print(f"{'':32}{'september':>12}{'fastapi':>12}{'ratio':>8}")
    for case, row in compare(rounds).items():
        ours, theirs = row["september"], row["fastapi"]
        print(f"{case:32}{ours:12,.2f}{theirs:12,.2f}{ours / theirs:8.2f}")


if __name__ == "__main__":
    main()
