"""MCP servers that others wrote, and a directory that connects them."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
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
PACKAGES = ("server-everything", "server-filesystem", "server-memory")

_CACHE = Path(os.environ.get("SEPTEMBER_NPM_CACHE", Path(tempfile.gettempdir(), "september-npm")))


def _install() -> Path:
    """The servers in a cache folder that outlives the test run."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("NOT RUN: npm is missing, so no MCP server of others' can be tried")
    modules = _CACHE / "node_modules" / "@modelcontextprotocol"
    if not all((modules / name).is_dir() for name in PACKAGES):
        _CACHE.mkdir(parents=True, exist_ok=True)
        wanted = [f"@modelcontextprotocol/{name}" for name in PACKAGES]
        subprocess.run(
            [
                npm,
                "install",
                "--no-audit",
                "--no-fund",
                "--silent",
                "--prefix",
                str(_CACHE),
                *wanted,
            ],
            check=True,
            timeout=110,
        )
    return modules


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
            "readable": [str(_CACHE)],
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
