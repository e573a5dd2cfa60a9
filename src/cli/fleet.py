"""`september fleet`: operate a fleet through its orchestrator."""

import secrets
import sys

import click
import msgspec
import trio
from cryptography.fernet import Fernet
from rich.console import Group
from rich.live import Live
from rich.text import Text

from ..errors import SeptemberError
from .fleet_audit import audit, prune_audit
from .fleet_backup import backup, backups, restore
from .fleet_client import FleetClient, user_path
from .fleet_upgrade import Rollout, share
from .fleet_view import STATES, engines_table
from .terminal import console, printable, show_json, until_interrupted
from .terminal import show as show_
from .trace_client import as_json


@click.group()
@click.option("--url", envvar="ORCH_URL", default="http://127.0.0.1:8000", show_default=True)
@click.option("--key", envvar="ORCH_PLATFORM_KEY", default="", help="[ORCH_PLATFORM_KEY]")
@click.option("--admin-key", envvar="ORCH_ADMIN_KEY", default="", help="[ORCH_ADMIN_KEY]")
@click.pass_context
def command(ctx: click.Context, url: str, key: str, admin_key: str) -> None:
    """Operate a fleet through its orchestrator.

    What concerns one product needs its key, what concerns all the admin's.
    """
    ctx.obj = FleetClient(url.rstrip("/"), key, admin_key)


@command.command()
def new_keys() -> None:
    """Make the orchestrator's two keys, as lines of NAME=value."""
    click.echo(f"ORCH_MASTER_KEY={Fernet.generate_key().decode()}")
    click.echo(f"ORCH_ADMIN_KEY={secrets.token_urlsafe(48)}")


@command.command()
@click.argument("slug")
@click.option("--name", help="Its name for people; default: the slug.")
@click.option("--max-engines", type=int)
@click.option("--rate-limit-rpm", type=int)
@click.pass_obj
def register(
    client: FleetClient,
    slug: str,
    name: str | None,
    max_engines: int | None,
    rate_limit_rpm: int | None,
) -> None:
    """Register a product and show its key, this once."""
    limits = {"max_engines": max_engines, "rate_limit_rpm": rate_limit_rpm}
    policy = {key: value for key, value in limits.items() if value is not None}
    body = {"slug": slug, "display_name": name or slug, "policy": policy}
    _show(client.ask("POST", "/products/register", body))


@command.command(name="ls")
@click.option("--status", type=click.Choice(STATES), help="Only those in this state.")
@as_json
@click.pass_obj
def list_engines(client: FleetClient, status: str | None, json: bool) -> None:
    """List Engines."""
    rows = list(client.engines(status))
    if json:
        show_json(rows)
    else:
        show_(engines_table(rows, wanted=status))


@command.command()
@click.argument("user")
@click.pass_obj
def show(client: FleetClient, user: str) -> None:
    """Show a user's Engine, with its key."""
    _show(client.ask("GET", user_path(user)))


@command.command()
@click.argument("user")
@click.option("--image", help="Default: ORCH_ENGINE_IMAGE.")
@click.pass_obj
def provision(client: FleetClient, user: str, image: str | None) -> None:
    """Make an Engine for a user."""
    body = {"user_id": user, "engine_version": image}
    _show(client.ask("POST", "/engines/provision", body))


@command.command()
@click.argument("user")
@click.option("--provision/--no-provision", default=False, help="Make one if there is none.")
@click.option("--wake/--no-wake", default=True, help="Wake it if it sleeps.")
@click.pass_obj
def admit(client: FleetClient, user: str, provision: bool, wake: bool) -> None:
    """Say where a user's Engine is."""
    body = {"auto_provision": provision, "auto_wake": wake}
    _show(client.ask("POST", user_path(user, "admit"), body))


@command.command()
@click.argument("user")
@click.pass_obj
def start(client: FleetClient, user: str) -> None:
    """Start a stopped or sleeping Engine."""
    _show(client.ask("POST", user_path(user, "start")))


@command.command()
@click.argument("user")
@click.pass_obj
def stop(client: FleetClient, user: str) -> None:
    """Stop a running Engine."""
    _show(client.ask("POST", user_path(user, "stop")))


@command.command()
@click.argument("user")
@click.pass_obj
def rotate_key(client: FleetClient, user: str) -> None:
    """Give a running Engine a new key."""
    _show(client.ask("POST", user_path(user, "rotate-key")))


@command.command()
@click.argument("user")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def destroy(client: FleetClient, user: str, yes: bool) -> None:
    """Destroy a user's Engine with all it knows."""
    if not yes:
        click.confirm(f"Destroy the Engine of {user!r} and everything in its brain?", abort=True)
    _show(client.ask("DELETE", user_path(user)))


@command.command()
@click.argument("engine")
@click.option("--lines", default=100, show_default=True)
@click.pass_obj
def logs(client: FleetClient, engine: str, lines: int) -> None:
    """Show the end of an Engine's log; ENGINE is its user or its id."""
    row = client.find(engine)
    answer = client.ask("GET", f"/admin/engines/{row.engine_id}/logs", lines=lines)
    click.echo(printable(msgspec.json.decode(answer)["text"]))


@command.command()
@click.pass_obj
def rotate_master_key(client: FleetClient) -> None:
    """Seal every Engine's key with the newest of ORCH_MASTER_KEY.

    First put the new key before the old one (NEW,OLD) and restart every orchestrator; after this
    command the old one can go.
    """
    _show(client.ask("POST", "/admin/rotate-master-key"))


@command.command()
@click.option("--interval", default=2.0, show_default=True, help="Seconds between two looks.")
@click.pass_obj
def top(client: FleetClient, interval: float) -> None:
    """Watch the fleet until Ctrl-C; where no terminal is, print the table once."""
    if not sys.stdout.isatty():
        show_(engines_table(client.engines()))
        return
    with until_interrupted(), Live(console=console(), screen=True, auto_refresh=False) as live:
        rows = list(client.engines())
        while True:
            live.update(engines_table(rows), refresh=True)
            trio.run(trio.sleep, interval)
            try:
                rows = list(client.engines())
            except SeptemberError as error:
                note = Text(f"{error.message}; this is how it was", "bold yellow")
                live.update(Group(note, engines_table(rows)), refresh=True)
                trio.run(trio.sleep, interval)


@command.command()
@click.option("--image", required=True, help="The image to go to.")
@click.option("--canary", default="5%", show_default=True, help="Share to upgrade first.")
@click.option("--at-once", default=5, show_default=True, help="How many at a time.")
@click.pass_obj
def upgrade(client: FleetClient, image: str, canary: str, at_once: int) -> None:
    """Take every Engine to another image, a few first.

    Each one is stopped, its brain is copied, it is made anew and probed, and put back as it was
    if it does not get well. Exits 1 if one did not get there.
    """
    rows = [row for row in client.engines() if row.engine_version != image]
    click.echo(f"{len(rows)} to upgrade", err=True)
    failed = trio.run(Rollout(client, image, at_once).run, rows, share(canary))
    sys.exit(1 if failed else 0)


for more in (audit, prune_audit, backup, backups, restore):
    command.add_command(more)


def _show(answer: bytes) -> None:
    click.echo(msgspec.json.format(answer, indent=2))
