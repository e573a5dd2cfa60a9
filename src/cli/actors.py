"""`september actors`: the actors of a running Engine, once or live."""

import sys

import click
from rich.live import Live
from rich.table import Table

from ..http.trace_port import ActorList
from .terminal import console
from .trace_client import TraceClient, reaches_service
from .trace_view import actors


@click.command()
@reaches_service
@click.option("--once", is_flag=True, help="Print the table once; so it is where no terminal is.")
def command(client: TraceClient, once: bool) -> None:
    """Show the tree of actors of a running service.

    Ctrl-C leaves.
    """
    out = console()
    if once or not sys.stdout.isatty():
        out.print(_table(client.get("/actors", ActorList)))
        return
    with Live(console=out, screen=True, auto_refresh=False) as live:
        for look in client.follow("/actors/stream", ActorList, every_ms=1000):
            live.update(_table(look), refresh=True)


def _table(look: ActorList) -> Table:
    return actors(look.actors, {one.path: one.per_second for one in look.rates})
