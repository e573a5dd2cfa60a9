"""`september trace`: what a running Engine recorded, and why it went as it did."""

import json
import re
import time
from typing import Final

import click

from ..http.trace_port import TraceDetail, TracePage
from ..traces.causes import Why
from ..traces.export import mermaid, otlp, perfetto
from ..traces.row import TraceRow
from .terminal import console
from .trace_client import TraceClient, reaches_service
from .trace_replay import command as replay
from .trace_view import explanation, listing, passing, tree

_LOOKED_AT: Final = 500
"""Traces among which requests are looked for."""

_REQUEST: Final = re.compile(r"[A-Z]+ /\S*")

FORMATS: Final = ("otlp", "perfetto", "mermaid")


@click.group()
def command() -> None:
    """Show what a running Engine or orchestrator recorded, and why.

    Ids are those of GET /traces; a trace is also found by its turn or task.
    """


@command.command(name="ls")
@reaches_service
@click.option("--task", help="Only this task's.")
@click.option("--actor", help="Only those with this actor in it: a path or its last name.")
@click.option("--message", help="Only those with a message of this type in it.")
@click.option("--errors", is_flag=True, help="Only those in which something failed.")
@click.option("--slow", type=int, metavar="MS", help="Only those with a step that took so long.")
@click.option("--since", type=int, metavar="S", help="Only those begun in the last S seconds.")
@click.option("--all", "everything", is_flag=True, help="Also what no request began.")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True)
def list_traces(
    client: TraceClient,
    task: str | None,
    actor: str | None,
    message: str | None,
    errors: bool,
    slow: int | None,
    since: int | None,
    everything: bool,
    limit: int,
) -> None:
    """List traces, latest first."""
    page = client.get(
        "/traces",
        TracePage,
        task_id=task,
        actor=actor,
        message_type=message,
        errors=errors,
        slow_ms=slow,
        since=int((time.time() - since) * 1e6) if since is not None else None,
        limit=limit if everything else _LOOKED_AT,
    )
    chosen = everything or actor or message
    shown = [one for one in page.traces if chosen or _REQUEST.fullmatch(one.name)]
    hidden = 0 if chosen else len(page.traces) - len(shown)
    console().print(listing(shown[:limit], page.losses, hidden))


@command.command()
@reaches_service
@click.argument("trace_id")
@click.option("--all", "everything", is_flag=True, help="Messages of the store and the log, too.")
def show(client: TraceClient, trace_id: str, everything: bool) -> None:
    """Show a trace as a tree in the order of time."""
    detail = client.get(f"/traces/{trace_id}", TraceDetail)
    console().print(tree(detail.lines, everything=everything))


@command.command()
@reaches_service
@click.option("--all", "everything", is_flag=True, help="Messages of the store and the log, too.")
def tail(client: TraceClient, everything: bool) -> None:
    """Follow what is recorded, until Ctrl-C."""
    out = console()
    for row in client.follow("/traces/stream", TraceRow):
        if everything or row.failed or row.message_type not in ("Read", "Write", "Append"):
            out.print(passing(row), soft_wrap=True)


@command.command()
@reaches_service
@click.argument("target")
def why(client: TraceClient, target: str) -> None:
    """Lead from TARGET to its root cause.

    TARGET is the id of an event, a turn, a task, a trace or a span, or an actor's path or name.
    """
    console().print(explanation(client.get("/traces/why", Why, of=target)))


@command.command()
@reaches_service
@click.argument("trace_id")
@click.option("--format", "form", type=click.Choice(FORMATS), default="otlp", show_default=True)
def export(client: TraceClient, trace_id: str, form: str) -> None:
    """Print a trace for another tool: an OTLP collector, ui.perfetto.dev, Markdown."""
    detail = client.get(f"/traces/{trace_id}", TraceDetail)
    rows = [line.row for line in detail.lines]
    match form:
        case "otlp":
            click.echo(json.dumps(otlp(rows)))
        case "perfetto":
            click.echo(json.dumps(perfetto(rows)))
        case _:
            click.echo(mermaid(rows), nl=False)


command.add_command(replay)
