"""`september demo`: the whole system on fresh data, one turn to watch, then a system to talk to."""

import sys
import tempfile
from pathlib import Path

import click
import trio

from ..fleet.store.embedded import reachable
from . import demo_engine, demo_fleet
from .demo_scene import MESSAGE, make_folder
from .settings import written


@click.command()
@click.option("--once", is_flag=True, help="Leave after the turn; exit 1 unless it completed.")
@click.option("--engine-only", is_flag=True, help="One Engine alone, without an orchestrator.")
@click.option("--message", default=MESSAGE, help="What to ask for.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("data/first-run"),
    show_default=True,
    help="Where to make the folder for the new data.",
)
def command(once: bool, engine_only: bool, message: str, data: Path) -> None:
    """Start the whole system on fresh data and play one turn.

    An orchestrator with a PostgreSQL of its own gets a product and provisions an Engine for a
    user; the turn goes to the URL, and with the key, that an admit of the user returns. With
    LLM_PROVIDER and its key in the environment a real model answers; without, the scripted
    provider does, which is no language model. Then all stays up until Ctrl-C.
    """
    if engine_only:
        engine = demo_engine.prepare(written(), make_folder(data))
        sys.exit(trio.run(engine.play, message, once))
    fleet = demo_fleet.prepare(written(), _within_reach(make_folder(data)))
    sys.exit(trio.run(fleet.play, message, once))


def _within_reach(folder: Path) -> Path:
    """`folder`, or for root another one, where PostgreSQL, which refuses to be root, can get to."""
    if reachable(folder):
        return folder
    other = Path(tempfile.mkdtemp(prefix="september-", dir="/var/tmp"))
    other.chmod(0o711)
    folder.rmdir()
    click.echo(f"PostgreSQL runs as nobody, who cannot reach {folder.parent}; see {other}\n")
    return other
