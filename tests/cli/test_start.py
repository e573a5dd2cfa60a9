"""A start loads what it needs, and nothing else before it is ready (decision 24)."""

import json
import subprocess
import sys
from pathlib import Path

from .engines import scripted

_BOOT = """
import json, os, signal, sys
from september.cli.app import COMMANDS, september

def ready(url):
    print("ready", json.dumps(sorted(sys.modules)), flush=True)

from september.cli import engine
engine._announce = ready
september(["engine"])
"""

LATE = {
    "anthropic", "openai", "google.genai", "pydantic", "anyio",  # providers
    "quart", "flask", "werkzeug", "jinja2",  # all routes but streams and health
    "rich", "pygments",  # for terminals
    "numpy", "tokenizers", "safetensors", "wordllama",  # memory, at its first search
    "trafilatura", "lxml", "PIL", "pypdf",  # tools and media
    "mcp", "mcp_types", "trio_websocket", "cryptography",  # connectors
    "opentelemetry", "requests",  # telemetry, if there is a collector
    "asyncpg", "trio_asyncio", "docker",  # a fleet
}  # fmt: skip
"""Libraries that an Engine may need, but not to be ready."""


def loaded_when_ready(folder: Path) -> set[str]:
    """The modules of an Engine at the moment it says that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _BOOT],
        env={**scripted(folder), "ENGINE_LOG_LEVEL": "ERROR"},
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        word, _, modules = process.stdout.readline().partition(" ")
        process.terminate()
        assert word == "ready"
        return set(json.loads(modules))


def test_an_engine_is_ready_before_it_loads_what_it_may_never_need(tmp_path: Path) -> None:
    loaded = loaded_when_ready(tmp_path)
    assert {"trio", "apsw", "structlog", "september.brain.tree"} <= loaded
    assert not loaded & LATE
