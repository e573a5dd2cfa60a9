"""MCP servers that others wrote, and a directory that connects them."""

import re
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import psutil
import pytest
import trio

from september.actors import ActorRef, Trace
from september.brain.assets.directory import DirectoryMessage
from september.brain.catalog import load_catalog
from september.brain.tree import Engine, running_engine
from september.config import load_engine_config
from tests.lineage import ORDERLY

STOCK = Path(__file__).resolve().parents[3] / "catalog"
ROOT = STOCK.parent
NPM = ROOT / ".venv" / "npm"
"""Where .dev/npm puts the servers of tests/mcp_servers/package.json; it outlives the run."""


def _install() -> Path:
    done = subprocess.run([ROOT / ".dev" / "npm"], capture_output=True, text=True, timeout=110)
    if done.returncode:
        pytest.skip(f"NOT RUN, so no MCP server from npm was tried: .dev/npm: {done.stderr[-300:]}")
    return NPM / "node_modules" / "@modelcontextprotocol"


@pytest.fixture(scope="session")
def npm_modules() -> Path:
    return _install()


@pytest.fixture
def npm_server(npm_modules: Path) -> Callable[..., dict[str, object]]:
    """The definition of an npm server, for the catalog."""

    def definition(name: str, *args: str, **more: object) -> dict[str, object]:
        script = npm_modules / f"server-{name}" / "dist" / "index.js"
        return {
            "name": name,
            "transport": "stdio",
            "command": "node",
            "args": [str(script), *args],
            "readable": [str(NPM)],
            **more,
        }

    return definition


def python_server(name: str, module: str, *args: str, **more: object) -> dict[str, object]:
    """The definition of a server that is a Python module of this environment."""
    prefixes = {sys.prefix, sys.base_prefix}
    return {
        "name": name,
        "transport": "stdio",
        "command": sys.executable,
        "args": ["-m", module, *args],
        "readable": sorted(prefixes),
        **more,
    }


@asynccontextmanager
async def engine_with(
    folder: Path, *servers: dict[str, object], **more: str
) -> AsyncGenerator[Engine]:
    """An Engine whose catalog has these servers."""
    catalog = folder / "catalog"
    if not catalog.exists():
        shutil.copytree(STOCK, catalog)
        shutil.rmtree(catalog / "servers", ignore_errors=True)
        (catalog / "servers").mkdir()
    for one in servers:
        (catalog / "servers" / f"{one['name']}.json").write_bytes(msgspec.json.encode(one))
    env = {
        "ENGINE_API_KEY": "an-engine-key-for-tests",
        "LLM_PROVIDER": "scripted",
        "SQLITE_DB_PATH": str(folder / "brain.sqlite"),
        "CATALOG_DIR": str(catalog),
        **more,
    }
    config = load_engine_config(env)
    trace = Trace()
    ORDERLY.add(config.sqlite_db_path)
    async with running_engine(config, load_catalog(config.catalog_dir), trace=trace) as engine:
        yield engine


def descendants() -> set[int]:
    """Processes that this one, or one of its own, has started and that still run."""
    return {
        one.pid
        for one in psutil.Process().children(recursive=True)
        if one.status() != psutil.STATUS_ZOMBIE
    }


def open_descriptors() -> list[str]:
    """What this process has open, by what it leads to; numbers and sockets' names differ."""
    found: list[str] = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists the folder
            found.append(re.sub(r"\d+", "", str(descriptor.readlink())))
    return sorted(found)


@pytest.fixture
def no_orphans() -> Iterator[None]:
    """Nothing that the test started runs afterwards."""
    before = descendants()
    yield
    assert descendants() - before == set()


async def until(condition: Callable[[], bool], within: float = 10.0) -> None:
    with trio.fail_after(within):
        while not condition():  # noqa: ASYNC110  other processes have no trio.Event
            await trio.sleep(0.01)


Assets = ActorRef[DirectoryMessage]
