"""`september trace`: what a running Engine recorded, and why it went as it did."""

import re
import time
from importlib import import_module
from json import dumps
from typing import Final

import click
import msgspec

from ..http.trace_port import TraceDetail, TracePage
from ..traces.causes import Why
from ..traces.export import mermaid, otlp, perfetto
from ..traces.reader import TRACE_ID
from ..traces.row import TraceRow
from .terminal import show as show_
from .terminal import show_json, until_interrupted
from .trace_client import TraceClient, as_json, reaches_service
from .trace_view import PLUMBING, explanation, heading, listing, passing, tree

_LOOKED_AT: Final = 500
"""Traces among which requests are looked for."""

_REQUEST: Final = re.compile(r"[A-Z]+ /\S*")

FORMATS: Final = ("otlp", "perfetto", "mermaid")


class _WithReplay(click.Group):
    """Imports `replay`, which needs the whole brain, only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), "replay"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name != "replay":
            return super().get_command(ctx, cmd_name)
        command = import_module(".trace_replay", __package__).command
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_WithReplay)
def command() -> None:
    """Show what a running Engine or orchestrator recorded, and why.

    A trace is found by its id, and also by that of an event, a turn, a task or a span in it.
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
@as_json
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
    json: bool,
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
    if json:
        show_json(TracePage(traces=shown[:limit], losses=page.losses))
    else:
        show_(listing(shown[:limit], page.losses, hidden))


@command.command()
@reaches_service
@click.argument("trace")
@click.option("--all", "everything", is_flag=True, help="Messages of the store and the log, too.")
@as_json
def show(client: TraceClient, trace: str, everything: bool, json: bool) -> None:
    """Show a trace as a tree in the order of time."""
    detail = _found(client, trace)
    if json:
        show_json(detail)
    else:
        show_(heading(detail.trace_id, detail.lines))
        show_(tree(detail.lines, everything=everything))


@command.command()
@reaches_service
@click.option("--all", "everything", is_flag=True, help="Messages of the store and the log, too.")
@as_json
def tail(client: TraceClient, everything: bool, json: bool) -> None:
    """Follow what is recorded, until Ctrl-C; with --json a row is a line."""
    click.echo(f"following {client.service} {client.url}; Ctrl-C leaves", err=True)
    with until_interrupted():
        for row in client.follow("/traces/stream", TraceRow, _note_lost):
            if not (everything or row.failed or row.message_type not in PLUMBING):
                continue
            if json:
                click.echo(msgspec.json.encode(row))
            else:
                show_(passing(row))


def _note_lost(reason: str) -> None:
    click.echo(f"{reason}", err=True)


@command.command()
@reaches_service
@click.argument("target")
@as_json
def why(client: TraceClient, target: str, json: bool) -> None:
    """Lead from TARGET to its root cause.

    TARGET is the id of an event, a turn, a task, a trace or a span, or an actor's path or name.
    """
    found = client.get("/traces/why", Why, of=target)
    if json:
        show_json(found)
    else:
        show_(explanation(found))


@command.command()
@reaches_service
@click.argument("trace")
@click.option("--format", "form", type=click.Choice(FORMATS), default="otlp", show_default=True)
def export(client: TraceClient, trace: str, form: str) -> None:
    """Print a trace for another tool: an OTLP collector, ui.perfetto.dev, Markdown."""
    rows = [line.row for line in _found(client, trace).lines]
    match form:
        case "otlp":
            click.echo(dumps(otlp(rows)))
        case "perfetto":
            click.echo(dumps(perfetto(rows)))
        case _:
            click.echo(mermaid(rows), nl=False)


def _found(client: TraceClient, target: str) -> TraceDetail:
    """The trace with this id, or the one that an event, turn, task, span or actor leads to."""
    if not TRACE_ID.fullmatch(target):
        target = client.get("/traces/why", Why, of=target).steps[0].trace_id
    return client.get(f"/traces/{target}", TraceDetail)
