"""`september trace replay`: what a turn or an actor did, done again by the code of here and now."""

import os
from pathlib import Path
from typing import Final

import click
import trio
from rich.console import Group
from rich.text import Text

from ..brain.catalog import load_catalog
from ..brain.replay.actors import replay_mailbox
from ..brain.replay.turn import TurnReplay, replay_turn
from ..config import load_engine_config
from ..http.routes.observability import Record
from ..traces.replay import Replay
from .terminal import console, printable
from .trace_client import TraceClient, reaches_service

_DOTENV: Final = Path(".env")


@click.command(name="replay")
@reaches_service
@click.argument("target")
@click.option("--at", metavar="SPAN", help="The actor's last message; default: the latest.")
def command(client: TraceClient, target: str, at: str | None) -> None:
    """Do again what TARGET did, with the code of here, and tell where it differs.

    TARGET is a turn, by its id, or an actor. What the model said and the tools answered is taken
    from the record; nothing outside is touched. An actor gets the settings of this environment, so
    run it with those of the Engine. Exits with 1 if something differs.
    """
    record = client.get("/observability/record", Record, of=target, at=at)
    if record.turn is not None:
        catalog_dir = os.environ.get("CATALOG_DIR")
        catalog = load_catalog(Path(catalog_dir) if catalog_dir else None)
        turn = trio.run(replay_turn, record.turn, catalog)
        console().print(turn_report(turn))
        differs = turn.difference is not None
    else:
        # No model is asked and no key checked, so neither need be there.
        env = {"ENGINE_API_KEY": "replay", **os.environ, "LLM_PROVIDER": "scripted"}
        config = load_engine_config(env, _DOTENV if _DOTENV.exists() else None)
        told = trio.run(replay_mailbox, list(record.mailbox), config)
        console().print(mailbox_report(told))
        differs = told.difference is not None
    raise SystemExit(int(differs))


def turn_report(told: TurnReplay) -> Group:
    """The steps that are the same, and the first that is not."""
    found = told.difference
    same = len(told.recorded) if found is None else found[0] - 1
    lines = [
        Text(f"  {number}. {_line(step)}", "dim") for number, step in enumerate(told.now[:same], 1)
    ]
    if found is None:
        return Group(*lines, Text(f"all {same} steps are as recorded", "bold green"))
    number, before, after = found
    return Group(
        *lines,
        Text(f"step {number} differs", "bold red"),
        Text(f"  recorded  {_line(before)}"),
        Text(f"  now       {_line(after)}"),
    )


def mailbox_report(told: Replay) -> Group:
    """How many messages were answered as recorded, and the first that was not."""
    where = f"{told.path}, incarnation {told.incarnation}"
    lines = [
        Text(f"not fed: {row.message_type} {row.span_id}: {printable(why)}", "yellow")
        for row, why in told.unfed
    ]
    found = told.difference
    if found is None:
        note = f"{where}: all {told.fed} messages are answered as recorded"
        return Group(*lines, Text(note, "bold green"))
    row = found.row
    return Group(
        *lines,
        Text(f"{where}: {row.message_type} {printable(row.message)} differs", "bold red"),
        Text(f"  span      {row.span_id} in trace {row.trace_id}", "dim"),
        Text(f"  recorded  {printable(found.recorded)}"),
        Text(f"  now       {printable(found.now)}"),
    )


def _line(step: str) -> str:
    return printable(step).replace("\n", " ⏎ ")
