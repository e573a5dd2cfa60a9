"""`september actors`: the actors of a running service, once or live."""

import sys

import click
from rich.console import Group
from rich.live import Live
from rich.text import Text

from ..http.trace_port import ActorList
from .listing import Listing
from .terminal import console, show, show_json, until_interrupted
from .trace_client import TraceClient, as_json, reaches_service
from .trace_view import actors


@click.command()
@reaches_service
@click.option("--once", is_flag=True, help="Print the table once; so it is where no terminal is.")
@as_json
def command(client: TraceClient, once: bool, json: bool) -> None:
    """Show the tree of actors of a running service.

    Ctrl-C leaves.
    """
    if json:
        show_json(client.get("/actors", ActorList))
    elif once or not sys.stdout.isatty():
        show(_table(client.get("/actors", ActorList)))
    else:
        with until_interrupted():
            _watch(client)


def _watch(client: TraceClient) -> None:
    """Show it anew each second; while the stream is lost, what was there last."""
    look = ActorList(actors=())
    with Live(console=console(), screen=True, auto_refresh=False) as live:

        def lost(reason: str) -> None:
            live.update(Group(Text(reason, "bold yellow"), _table(look)), refresh=True)

        for look in client.follow("/actors/stream", ActorList, lost, every_ms=1000):
            live.update(_table(look), refresh=True)


def _table(look: ActorList) -> Listing:
    return actors(look.actors, {one.path: one.per_second for one in look.rates})
