"""`september demo`: an Engine on a fresh brain, one turn to watch, then an Engine to talk to."""

import os
import secrets
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
from .engine_process import EngineProcess, engine_process
from .keyboard import Keyboard
from .screen import TerminalScreen
from .settings import DOTENV, Texts, written
from .sse_client import NewTurn
from .terminal import console

TASK: Final = "demo"

MESSAGE: Final = (
    "Show me what you can do: remember that I took the tour today, write a short note into a"
    " file, read it back, and run `uname -sr` in the shell."
)


@click.command()
@click.option("--once", is_flag=True, help="Leave after the turn; exit 1 unless it completed.")
@click.option("--message", default=MESSAGE, help="What to ask for.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("data/first-run"),
    show_default=True,
    help="Where to make the new brain's folder.",
)
def command(once: bool, message: str, data: Path) -> None:
    """Start an Engine on a fresh brain and play one turn.

    With LLM_PROVIDER and its key in the environment a real model answers; without, the scripted
    provider does, which is no language model. Then the Engine stays up until Ctrl-C.
    """
    folder = data.absolute() / f"{datetime.now():%Y-%m-%dT%H-%M-%S}-{os.getpid()}"
    demo = prepare(written(), folder)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise click.UsageError(f"cannot make {folder}: {error.strerror}") from error
    sys.exit(trio.run(demo.play, message, once))


@dataclass(frozen=True, slots=True)
class Demo:
    """A demonstration: `environment` is the Engine's, `remark` says who will answer."""

    folder: Path
    environment: Mapping[str, str]
    key: str
    remark: str

    async def play(self, message: str, once: bool) -> int:
        """Start, play, stay; return the exit code. Raises SeptemberError if it cannot start."""
        out = console()
        out.print(f"{self.remark}\n", style="bold", soft_wrap=True)
        out.print(f"> {message}\n", soft_wrap=True)
        async with engine_process(self.environment, self.folder / "engine.log") as engine:
            completed = await self._turn(engine, message)
            if once:
                return 0 if completed else 1
            self._show_ways_in(engine)
            return await _stay(engine)

    async def _turn(self, engine: EngineProcess, message: str) -> bool:
        chat = Chat(engine.url, self.key, TerminalScreen(), Keyboard())
        try:
            return await chat.play(NewTurn(TASK, message)) is Outcome.COMPLETED
        except SeptemberError as error:
            click.echo(f"september: {error.message}", err=True)
            return False

    def _show_ways_in(self, engine: EngineProcess) -> None:
        program = _relative(Path(sys.argv[0]))
        rows = {
            "health": f"{engine.url}/health",
            "docs": f"{engine.url}/docs",
            "chat": f"{program} chat --url {engine.url} --key {self.key}",
            "brain": _relative(self.folder / "brain.sqlite"),
            "log": _relative(self.folder / "engine.log"),
        }
        lines = "\n".join(f"  {name:<8}{text}" for name, text in rows.items())
        console().print(f"\nThe Engine stays up until Ctrl-C.\n\n{lines}\n", soft_wrap=True)


def prepare(texts: Texts, folder: Path) -> Demo:
    """Choose key, port and provider. Raises ConfigError for settings that cannot work."""
    key = secrets.token_hex(16)
    ours = {
        "ENGINE_API_KEY": key,
        "ENGINE_KEY_HASH": "",  # whatever is set elsewhere belongs to another Engine
        "SQLITE_DB_PATH": str(folder / "brain.sqlite"),
        "ENGINE_PORT": texts.get("ENGINE_PORT") or str(_free_port(8000)),
    }
    environment = {**texts.environment, **ours}
    config = _with_model(texts, environment)
    if config is not None:
        remark = f"{config.llm_provider} answers, with the model {config.llm_model}."
        return Demo(folder, environment, key, remark)
    scripted = {**environment, "LLM_PROVIDER": "scripted", "EMBEDDING_PROVIDER": "local"}
    load_engine_config(scripted, DOTENV)
    return Demo(folder, scripted, key, _why_scripted(texts))


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


def _free_port(wanted: int) -> int:
    """`wanted` if nobody listens there, otherwise 0, which lets the system choose."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return 0
    return wanted


def _relative(path: Path) -> str:
    """A path as one would type it here."""
    path = path.absolute()
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


async def _stay(engine: EngineProcess) -> int:
    """Wait for Ctrl-C (0), or for the Engine to end by itself (1)."""
    code = 1
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            await engine.process.wait()
            click.echo("september: the Engine stopped by itself; see its log", err=True)
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            await anext(signals)
            code = 0
            nursery.cancel_scope.cancel()
    return code
