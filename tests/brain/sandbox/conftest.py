"""A real sandbox, and a way to see whether processes are left."""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import trio

from september.actors import ActorRef
from september.actors.testing import running
from september.brain.sandbox.limits import Limits
from september.brain.sandbox.sandbox import Sandbox, SandboxMessage

SMALL = Limits(output=4096, overflow=100_000, processes=40, file_size=1_000_000)


@pytest.fixture
async def sandbox() -> AsyncGenerator[ActorRef[SandboxMessage]]:
    async with running(Sandbox()) as ref:
        yield ref


@pytest.fixture
async def small() -> AsyncGenerator[ActorRef[SandboxMessage]]:
    """A sandbox with limits that are quickly reached."""
    async with running(Sandbox(limits=SMALL)) as ref:
        yield ref


@pytest.fixture
async def unconfined() -> AsyncGenerator[ActorRef[SandboxMessage]]:
    async with running(Sandbox(mode="none")) as ref:
        yield ref


@pytest.fixture(params=["bubblewrap", "none"])
async def either(request: pytest.FixtureRequest) -> AsyncGenerator[ActorRef[SandboxMessage]]:
    """Both ways to run a command."""
    async with running(Sandbox(mode=request.param)) as ref:
        yield ref


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


@pytest.fixture
def token() -> str:
    """A number of seconds that only this test's `sleep`s have on their command line."""
    return f"{uuid4().int % 10**6 + 10**6}.5"


def _command_lines() -> Iterator[list[bytes]]:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            yield Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue


@pytest.fixture
def left(token: str) -> Callable[[], int]:
    """How many `sleep <token>` there are."""
    wanted = [b"sleep", token.encode()]
    return lambda: sum(line[:2] == wanted for line in _command_lines())


async def _until(condition: Callable[[], bool]) -> float:
    began = trio.current_time()
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110  # other processes have no trio.Event
            await trio.sleep(0.005)
    return trio.current_time() - began


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[float]]:
    """Wait for the world outside to change; tells how many seconds it took."""
    return _until


@pytest.fixture
def open_descriptors() -> Callable[[], int]:
    return lambda: len(os.listdir("/proc/self/fd"))
