"""`september fleet audit`: what was done to which Engine, and by whom; once or as it happens."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import click
import msgspec
import trio

from .fleet_client import Entries, Entry, FleetClient
from .fleet_view import audit_table
from .terminal import show, show_json, until_interrupted
from .trace_client import as_json

_EVERY_S: Final = 1.0
_PAGE: Final = 500
_PROBE: Final = "health_check"


@click.command()
@click.option("--user", help="Only what concerns this user.")
@click.option("--action", help="Only this action, such as provision or auto_restart_success.")
@click.option("--since", type=float, metavar="S", help="Only of the last S seconds.")
@click.option("--no-checks", is_flag=True, help="Without the sampled health checks.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--follow", is_flag=True, help="Then print what happens, until Ctrl-C.")
@as_json
@click.pass_obj
def audit(
    client: FleetClient,
    user: str | None,
    action: str | None,
    since: float | None,
    no_checks: bool,
    limit: int,
    follow: bool,
    json: bool,
) -> None:
    """Show the audit log, newest first; with --follow newest last, and with --json one a line."""
    log = _Log(client, user, action, no_checks)
    begin = datetime.now(UTC) - timedelta(seconds=since) if since is not None else None
    found = list(log.latest(limit, begin))
    if not follow:
        show_json(found) if json else show(audit_table(found))
        return
    with until_interrupted():
        _tell(found[::-1], json, head=True)
        for fresh in log.coming(found[0].id if found else log.newest()):
            _tell(fresh, json, head=False)


def _tell(entries: list[Entry], json: bool, *, head: bool) -> None:
    if json:
        for one in entries:
            click.echo(msgspec.json.encode(one))
    elif entries or head:
        show(audit_table(entries, head=head))


class _Log:
    """The entries that fit, in the orchestrator's log."""

    def __init__(
        self, client: FleetClient, user: str | None, action: str | None, no_checks: bool
    ) -> None:
        self._client = client
        self._user = user
        self._action = action
        self._no_checks = no_checks

    def latest(self, limit: int, begin: datetime | None = None) -> Iterator[Entry]:
        """At most so many, from `begin` on, newest first."""
        for one in self._backwards(limit):
            if limit == 0 or (begin and datetime.fromisoformat(one.timestamp) < begin):
                return
            if not (self._no_checks and one.action == _PROBE):
                limit -= 1
                yield one

    def newest(self) -> int:
        """The id of the newest entry; 0 if there is none."""
        return max((one.id for one in self._page(None, 1)), default=0)

    def coming(self, last: int) -> Iterator[list[Entry]]:
        """Those after the entry `last`, oldest first, as they come; for ever."""
        while True:
            fresh = list[Entry]()
            for one in self._backwards(_PAGE):
                if one.id <= last:
                    break
                fresh.insert(0, one)
            last = fresh[-1].id if fresh else last
            yield [one for one in fresh if not (self._no_checks and one.action == _PROBE)]
            trio.run(trio.sleep, _EVERY_S)

    def _backwards(self, size: int) -> Iterator[Entry]:
        before = None
        while page := self._page(before, size):
            yield from page
            before = page[-1].id

    def _page(self, before: int | None, limit: int) -> list[Entry]:
        asked = {"user_id": self._user, "action": self._action, "before": before, "limit": limit}
        return self._client.get(Entries, "GET", "/admin/audit", **asked).entries


@click.command()
@click.argument("days", type=float)
@click.pass_obj
def prune_audit(client: FleetClient, days: float) -> None:
    """Delete entries of the audit log that are older than DAYS."""
    answer = client.ask("POST", "/admin/audit/prune", {"older_than_days": days})
    click.echo(msgspec.json.format(answer, indent=2))
