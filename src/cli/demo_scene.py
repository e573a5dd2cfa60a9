"""What every demonstration has: a fresh folder, somebody who answers, a turn, a way out."""

import os
import shlex
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import click
import trio

from ..config import EngineConfig, load_engine_config
from ..errors import ConfigError, SeptemberError
from .chat import Chat
from .chat_turn import Outcome
from .child import Child
from .keyboard import Keyboard
from .screen import TerminalScreen
from .settings import DOTENV, Texts
from .sse_client import NewTurn

TASK: Final = "demo"

MESSAGE: Final = (
    "Show me what you can do: remember that I took the tour today, write a short note into a"
    " file, read it back, and run `uname -sr` in the shell."
)


@dataclass(frozen=True, slots=True)
class Model:
    """Who answers: the `environment` that says so to an Engine, and a `remark` for the person."""

    environment: Mapping[str, str]
    remark: str


def choose_model(texts: Texts, ours: Mapping[str, str]) -> Model:
    """The provider that is set if it has a key, otherwise the scripted one.

    `ours` are settings that win over what is written. Raises ConfigError for what cannot work.
    """
    environment = {**texts.environment, **ours}
    config = _with_model(texts, environment)
    if config is not None:
        remark = f"{config.llm_provider} answers, with the model {config.llm_model}."
        return Model(environment, remark)
    scripted = {**environment, "LLM_PROVIDER": "scripted", "EMBEDDING_PROVIDER": "local"}
    load_engine_config(scripted, DOTENV)
    return Model(scripted, _why_scripted(texts))


def make_folder(data: Path) -> Path:
    """A new folder below `data`. Raises click.UsageError."""
    folder = data.absolute() / f"{datetime.now():%Y-%m-%dT%H-%M-%S}-{os.getpid()}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise click.UsageError(f"cannot make {folder}: {error.strerror}") from error
    return folder


async def play_turn(url: str, key: str, message: str) -> bool:
    """Show one turn; returns whether it completed."""
    chat = Chat(url, key, TerminalScreen(), Keyboard())
    try:
        return await chat.play(NewTurn(TASK, message)) is Outcome.COMPLETED
    except SeptemberError as error:
        click.echo(f"september: {error.message}", err=True)
        return False


async def stay(child: Child) -> int:
    """Wait for Ctrl-C (0), or for the child to end by itself (1)."""
    code = 1
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            await child.process.wait()
            click.echo("september: it stopped by itself; see its log", err=True)
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            await anext(signals)
            code = 0
            nursery.cancel_scope.cancel()
    return code


def free_port(wanted: int) -> int:
    """`wanted` if nobody listens there, otherwise 0, which lets the system choose."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return 0
    return wanted


def program() -> str:
    """This program, as one would type it here."""
    return relative(Path(sys.argv[0]))


def relative(path: Path) -> str:
    """A path as one would type it here."""
    path = path.absolute()
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def listing(rows: Mapping[str, str]) -> str:
    """Names and texts below each other."""
    return "\n".join(f"  {name:<9}{text}" for name, text in rows.items())


def _with_model(texts: Texts, environment: Mapping[str, str]) -> EngineConfig | None:
    """The settings if they name a provider and have its key."""
    if texts.get("LLM_PROVIDER") in (None, "scripted"):
        return None
    try:
        return load_engine_config(environment, DOTENV)
    except ConfigError as error:
        if error.details["variable"] == "LLM_API_KEY":
            return None
        raise


def _why_scripted(texts: Texts) -> str:
    provider = texts.get("LLM_PROVIDER")
    why = f"LLM_PROVIDER={provider} has no key" if provider else "LLM_PROVIDER is not set"
    if provider == "scripted":
        why = "LLM_PROVIDER=scripted"
    return (
        f"{why}: the scripted provider answers. It is NOT a language model; it plays a prepared"
        " script. Tools, sandbox, memory and stream are real."
    )
