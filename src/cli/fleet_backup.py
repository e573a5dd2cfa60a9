"""`september fleet backup`, `backups` and `restore`: copies of a brain, made and put back."""

import sys

import click

from .fleet_client import Backup, Backups, FleetClient, Restored
from .fleet_view import backups_table
from .terminal import show, show_json
from .trace_client import as_json


@click.command()
@click.argument("engine")
@click.pass_obj
def backup(client: FleetClient, engine: str) -> None:
    """Copy a brain to a file of the orchestrator's host; ENGINE is its user or its id.

    The Engine goes on meanwhile. The file is complete: it may be moved elsewhere.
    """
    path = f"/admin/engines/{client.find(engine).engine_id}/backup"
    made = client.get(Backup, "POST", path)
    click.echo(f"{made.name}: {made.size / 2**20:.1f} MiB in {made.path}")


@click.command()
@click.argument("engine")
@as_json
@click.pass_obj
def backups(client: FleetClient, engine: str, json: bool) -> None:
    """List the copies of a user's brain; ENGINE is the user or the Engine's id."""
    path = f"/admin/engines/{client.find(engine).engine_id}/backups"
    found = client.get(Backups, "GET", path)
    show_json(found) if json else show(backups_table(found))


@click.command()
@click.argument("engine")
@click.option("--from", "name", required=True, help="The backup's name, as backups lists it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def restore(client: FleetClient, engine: str, name: str, yes: bool) -> None:
    """Put a copy in place of a brain; ENGINE is its user or its id.

    The Engine is stopped, its brain is copied, and if it does not get well with the one from the
    backup it gets that copy back. Exits 1 in that case.
    """
    row = client.find(engine)
    if not yes:
        click.confirm(f"Put {name} in place of what {row.user_id!r} has now?", abort=True)
    body = {"backup": name}
    done = client.get(Restored, "POST", f"/admin/engines/{row.engine_id}/restore", body=body)
    word = f"restored from {name}" if done.restored else "went back to what it had; see the audit"
    click.echo(f"{row.user_id}: {word}, {done.status}")
    sys.exit(0 if done.restored else 1)
