"""`september engine`: run one Engine in the foreground."""

import sys
from functools import partial
from pathlib import Path

import click

from ..http.serve import run_engine
from .parent import tell_parent
from .settings import load


@click.command()
@click.option("--host", help="Address to listen on [ENGINE_HOST].")
@click.option("--port", type=int, help="Port to listen on, 0 for any [ENGINE_PORT].")
@click.option("--brain", type=click.Path(path_type=Path), help="Brain file [SQLITE_DB_PATH].")
@click.option("--provider", help="anthropic, openai, gemini, scripted [LLM_PROVIDER].")
@click.option("--model", help="The model of every agent that names none [LLM_MODEL].")
@click.option("--parent-fd", type=int, hidden=True)
def command(
    host: str | None,
    port: int | None,
    brain: Path | None,
    provider: str | None,
    model: str | None,
    parent_fd: int | None,
) -> None:
    """Run an Engine.

    Settings come from the environment and the file .env; an option wins over its variable.
    `september config` shows them all. SIGTERM or Ctrl-C lets running turns finish.
    """
    config = load(
        ENGINE_HOST=host,
        ENGINE_PORT=port,
        SQLITE_DB_PATH=brain,
        LLM_PROVIDER=provider,
        LLM_MODEL=model,
    )
    on_ready = _announce if parent_fd is None else partial(tell_parent, parent_fd)
    sys.exit(run_engine(config, on_ready=on_ready))


def _announce(url: str) -> None:
    click.echo(f"Engine ready at {url}", err=True)
