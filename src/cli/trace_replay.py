"""`september trace replay`: what a turn or an actor did, done again by the code of here and now."""

import os
from functools import partial
from pathlib import Path
from typing import Final

import click
import trio

from ..brain.catalog import load_catalog
from ..brain.replay.actors import replay_actor
from ..brain.replay.turn import replay_turn
from ..http.routes.observability import Record
from .replay_view import actor_report, turn_report
from .terminal import show
from .trace_client import TraceClient, reaches_engine

_DOTENV: Final = Path(".env")


@click.command(name="replay")
@reaches_engine
@click.argument("target")
@click.option("--at", metavar="SPAN", help="The actor's last message, shown in full.")
@click.option(
    "--as-kept", is_flag=True, help="Feed messages that were cut or redacted as the trace has them."
)
def command(client: TraceClient, target: str, at: str | None, as_kept: bool) -> None:
    """Do again what TARGET did, with the code of here, and tell where it differs.

    TARGET is a turn, by its id, or an actor. What the model said, the tools answered and other
    actors answered is taken from the record; nothing outside is touched. An actor gets the
    settings of this environment, so run it with those of the Engine. Exits with 1 if something
    differs, with 3 if it could not be followed to its end.
    """
    record = client.get("/observability/record", Record, of=target, at=at)
    if record.turn is not None:
        catalog_dir = os.environ.get("CATALOG_DIR")
        catalog = load_catalog(Path(catalog_dir) if catalog_dir else None)
        turn = trio.run(replay_turn, record.turn, catalog)
        show(turn_report(turn))
        raise SystemExit(int(turn.difference is not None))
    assert record.life is not None, "the service answers with the one or the other"
    dotenv = _DOTENV if _DOTENV.exists() else None
    told = trio.run(partial(replay_actor, record.life, os.environ, dotenv, as_kept=as_kept))
    show(actor_report(told))
    raise SystemExit(1 if told.difference is not None else 3 if told.stopped is not None else 0)
