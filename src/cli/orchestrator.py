"""`september orchestrator`: run the fleet's orchestrator in the foreground."""

import os
import sys
from functools import partial
from pathlib import Path

import click

from ..config import load_fleet_config
from ..http.orchestrator.serve import run_orchestrator
from .parent import tell_parent
from .settings import DOTENV


@click.command()
@click.option("--host", help="Address to listen on [ORCH_HOST].")
@click.option("--port", type=int, help="Port to listen on, 0 for any [ORCH_PORT].")
@click.option("--data", type=click.Path(path_type=Path), help="Data folder [ORCH_DATA_DIR].")
@click.option("--backend", help="docker or subprocess [ORCH_ENGINE_BACKEND].")
@click.option("--image", help="Image of new Engines [ORCH_ENGINE_IMAGE].")
@click.option("--stop-engines", is_flag=True, help="On the way out stop the Engines, too.")
@click.option("--parent-fd", type=int, hidden=True)
def command(
    host: str | None,
    port: int | None,
    data: Path | None,
    backend: str | None,
    image: str | None,
    stop_engines: bool,
    parent_fd: int | None,
) -> None:
    """Run an orchestrator.

    Settings come from the environment and the file .env; an option wins over its variable.
    Without ORCH_DATABASE_URL it runs a PostgreSQL of its own in the data folder. SIGTERM or
    Ctrl-C ends it; its Engines go on unless --stop-engines is given.
    """
    options = {
        "ORCH_HOST": host,
        "ORCH_PORT": port,
        "ORCH_DATA_DIR": data,
        "ORCH_ENGINE_BACKEND": backend,
        "ORCH_ENGINE_IMAGE": image,
    }
    given = {name: str(value) for name, value in options.items() if value is not None}
    config = load_fleet_config({**os.environ, **given}, DOTENV)
    on_ready = _announce if parent_fd is None else partial(tell_parent, parent_fd)
    sys.exit(run_orchestrator(config, on_ready=on_ready, stop_engines=stop_engines))


def _announce(url: str) -> None:
    click.echo(f"Orchestrator ready at {url}", err=True)
