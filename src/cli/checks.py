"""What `september doctor` checks: each check says what it found and, if need be, what to do."""

import os
import platform
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import Final, TypeAlias

import apsw
import trio

from ..brain.sandbox.bubblewrap import Bubblewrap
from ..brain.sandbox.probe import look_around
from ..brain.store.connection import connect
from ..brain.store.migrate import pending
from ..brain.store.session import Role, configure
from ..errors import SeptemberError
from .settings import Texts, load


class Verdict(Enum):
    """How a check went. Only MISSING keeps an Engine from running."""

    OK = "ok"
    LIMITED = "limited"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found, and what to do about it unless it is OK."""

    verdict: Verdict
    found: str
    remedy: str = ""


Check: TypeAlias = Callable[[Texts], Finding]


def python(_: Texts) -> Finding:
    """The interpreter; pip has seen to its version."""
    return _ok(f"{platform.python_version()} at {sys.executable}")


def sqlite(_: Texts) -> Finding:
    """SQLite itself, through apsw."""
    return _ok(f"{apsw.sqlite_lib_version()} with apsw {apsw.apsw_version()}")


def sqlite_vec(_: Texts) -> Finding:
    """Vector search, which the brain's schema needs."""
    db = connect(Path(":memory:"))
    try:
        configure(db, Role.READER)
        version = db.execute("SELECT vec_version()").fetchone()
    except apsw.Error as error:
        return _missing(f"does not load: {error}", "install it again: pip install sqlite-vec")
    finally:
        db.close()
    return _ok(version[0] if version else "loads")


def settings(_: Texts) -> Finding:
    """All settings together, as an Engine reads them."""
    try:
        load()
    except SeptemberError as error:
        return _missing("an Engine would not start", error.message)
    return _ok("an Engine would start with them")


def provider(texts: Texts) -> Finding:
    """Whose models answer, and whether there is a key."""
    name = str(texts.value("LLM_PROVIDER"))
    if name == "scripted":
        return Finding(
            Verdict.LIMITED,
            "scripted: a prepared script, no language model",
            "set LLM_PROVIDER, LLM_MODEL and LLM_API_KEY for a real model",
        )
    for variable in ("LLM_API_KEY", f"{name.upper()}_API_KEY"):
        if texts.get(variable):
            return _ok(f"{name}, key in {variable}")
    return _missing(
        f"{name} without a key", f"set LLM_API_KEY or {name.upper()}_API_KEY (or another provider)"
    )


def sandbox(texts: Texts) -> Finding:
    """Whether commands can be confined: a bubblewrap that really runs here."""
    if texts.value("SANDBOX_MODE") == "none":
        return Finding(
            Verdict.LIMITED,
            "off: commands run as this user, unconfined",
            "unset SANDBOX_MODE unless this machine is a sandbox itself",
        )
    result = trio.run(look_around)
    if isinstance(result, Bubblewrap):
        return _ok(str(result))
    return Finding(
        Verdict.LIMITED,
        f"bash will refuse to run: {result}",
        "apt-get install bubblewrap; in a container allow user namespaces "
        "(docker run --security-opt seccomp=unconfined), or set SANDBOX_MODE=none",
    )


def brain(texts: Texts) -> Finding:
    """The place of the brain, and whether its schema is the Engine's."""
    path = texts.path("SQLITE_DB_PATH")
    assert path is not None, "SQLITE_DB_PATH has a default"
    if not _writable(path):
        return _missing(
            f"{path} cannot be written",
            f"make {path.parent} writable, or choose another SQLITE_DB_PATH",
        )
    if not path.exists():
        return _ok(f"{path} will be made")
    try:
        todo = pending(path, texts.path("MIGRATIONS_DIR"))
    except SeptemberError as error:
        return _missing(f"{path} cannot be used", error.message)
    return _ok(f"{path}, {f'{len(todo)} migrations pending' if todo else 'up to date'}")


def port(texts: Texts) -> Finding:
    """Whether the Engine's port is free."""
    host, number = str(texts.value("ENGINE_HOST")), int(str(texts.value("ENGINE_PORT")))
    try:
        with socket.create_server((host, number)):
            return _ok(f"{host}:{number} is free")
    except OSError as error:
        return _missing(
            f"{host}:{number}: {error.strerror}",
            "stop what listens there, or choose another ENGINE_PORT",
        )


def embedder(texts: Texts) -> Finding:
    """Who embeds: OpenAI, or the weights that come in a wheel."""
    chosen = texts.get("EMBEDDING_PROVIDER") or (
        "openai" if texts.get("OPENAI_API_KEY") else "local"
    )
    if chosen == "openai":
        return _ok("OpenAI")
    spec = find_spec("wordllama")
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    weights = folder / "weights" / "l2_supercat_256.safetensors"
    if weights.is_file():
        return _ok(f"local, {weights.stat().st_size / 2**20:.0f} MiB of weights")
    return _missing("no local weights", "pip install wordllama, or set OPENAI_API_KEY")


CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("Python", python),
    ("SQLite", sqlite),
    ("sqlite-vec", sqlite_vec),
    ("settings", settings),
    ("provider", provider),
    ("embedder", embedder),
    ("sandbox", sandbox),
    ("brain", brain),
    ("port", port),
)
"""Every check, in the order of the table."""


def run(check: Check, texts: Texts) -> Finding:
    """Run a check; a setting that cannot be read is its finding."""
    try:
        return check(texts)
    except SeptemberError as error:
        return _missing("cannot tell", error.message)


def _ok(found: str) -> Finding:
    return Finding(Verdict.OK, found)


def _missing(found: str, remedy: str) -> Finding:
    return Finding(Verdict.MISSING, found, remedy)


def _writable(path: Path) -> bool:
    """Whether `path` can be written, or made: found out without making anything."""
    if path.exists():
        return path.is_file() and os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    folder = next(parent for parent in path.parents if parent.exists())
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
