"""A real Engine for the tests of its clients, and a way to cut its connections."""

import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import trio

SEPTEMBER = (sys.executable, "-P", "-m", "september")

RULES = r"""
name = "chat test"
piece_chars = 8

[[rule]]
match = '^count to (?P<n>\d+)$'
steps = [{ text = "one two three four five six seven eight nine ten, and so on to ${n}" }]

[[rule]]
match = '^slowly$'
steps = [{ text = "so slowly that nobody waits for the end", delay_ms = 5000 }]

[[rule]]
match = '^ask me$'
step = 0
[[rule.steps]]
tool = "ask_user"
input = { question = "Tea or coffee?", options = ["tea", "coffee"] }

[[rule]]
match = '^ask me$'
step = 1
steps = [{ text = "You want ${result.ask_user}." }]

[[rule]]
match = '^fail$'
steps = [{ fault = "rejected", message = "no such thing" }]
"""


@dataclass(frozen=True, slots=True)
class RunningEngine:
    """An Engine that answers at `url`, to `key`."""

    url: str
    key: str
    process: subprocess.Popen[bytes]

    @property
    def port(self) -> int:
        """Where it listens."""
        return urlsplit(self.url).port or 0


def clean_environment(**settings: str) -> dict[str, str]:
    """This process's environment without a setting that could reach an Engine, plus `settings`."""
    kept = {"PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV"}
    return {name: text for name, text in os.environ.items() if name in kept} | settings


def scripted(folder: Path, port: int = 0) -> Mapping[str, str]:
    """Settings of an Engine whose brain is in `folder` and whose model plays RULES."""
    rules = folder / "rules.toml"
    rules.write_text(RULES)
    return clean_environment(
        LLM_PROVIDER="scripted",
        SCRIPTED_RULES=str(rules),
        SQLITE_DB_PATH=str(folder / "brain.sqlite"),
        ENGINE_API_KEY="the-key",
        ENGINE_PORT=str(port),
        DRAIN_TIMEOUT_S="0.5",
    )


@contextmanager
def running_engine(folder: Path, port: int = 0) -> Generator[RunningEngine]:
    """Run `september engine` as its own process until the body ends or kills it."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            fd = theirs.fileno()
            process = subprocess.Popen(
                [*SEPTEMBER, "engine", "--parent-fd", str(fd)],
                cwd=folder,
                env=scripted(folder, port),
                stdout=subprocess.DEVNULL,
                pass_fds=[fd],
            )
        with process:
            url = ours.makefile().readline().strip()
            assert url, f"the Engine did not start; exit code {process.wait()}"
            yield RunningEngine(url, "the-key", process)
            if process.poll() is None:
                process.terminate()
                assert process.wait(30) == 0


@asynccontextmanager
async def cutting(port: int, cuts: Iterator[int]) -> AsyncGenerator[str]:
    """A way to 127.0.0.1:`port` that breaks: each connection after so many bytes of answer.

    Connections beyond the last of `cuts` are left whole.
    """

    async def relay(client: trio.SocketStream) -> None:
        left = next(cuts, -1)
        async with client, await trio.open_tcp_stream("127.0.0.1", port) as server:
            async with trio.open_nursery() as both:
                both.start_soon(_pump, client, server)
                async for part in server:
                    await client.send_all(part if left < 0 else part[:left])
                    if 0 <= left <= len(part):
                        break
                    left -= len(part) if left > 0 else 0
                both.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, relay, 0)
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def _pump(source: trio.SocketStream, target: trio.SocketStream) -> None:
    async for part in source:
        await target.send_all(part)
