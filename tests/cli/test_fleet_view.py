"""What the fleet commands print: tables that say something also when there is nothing."""

from datetime import UTC, datetime, timedelta

from rich.console import Console

from september.cli.fleet_client import Backup, Backups, Entry, Row
from september.cli.fleet_view import audit_table, backups_table, engines_table
from september.cli.listing import Listing


def text(rows: Listing) -> str:
    out = Console(width=120, force_terminal=True, color_system=None)
    with out.capture() as shown:
        out.print(rows)
    return shown.get()


def row(user: str, status: str, **more: str) -> Row:
    return Row(engine_id="e", user_id=user, status=status, engine_version="e:1", **more)


def test_engines_are_listed_and_counted_and_steer_no_terminal() -> None:
    healthy = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    rows = [
        row("ada", "running", last_health_at=healthy),
        row("b\x1b[2Job", "failed", failure="BOOT_TIMEOUT: slow"),
    ]
    shown = text(engines_table(rows))
    assert "5 m ago" in shown and "BOOT_TIMEOUT: slow" in shown
    assert "\x1b[2J" not in shown
    assert "2 in all: 1 failed, 1 running" in shown


def test_nothing_says_what_to_do() -> None:
    assert "september fleet provision USER makes one" in text(engines_table([]))
    assert "no Engine is failed" in text(engines_table([], wanted="failed"))
    assert "september fleet backup USER makes one" in text(backups_table(Backups([])))
    assert "no entry fits" in text(audit_table([]))


def test_an_entry_and_a_backup_have_a_line_each() -> None:
    entry = Entry(7, "2026-11-28T12:00:00.5Z", "ada", "provision", "shop", {"image": "e:1"}, 1234)
    (_, line) = text(audit_table([entry])).splitlines()
    assert line.split() == "7 2026-11-28 12:00:00 ada provision shop 1.2 s image=e:1".split()
    backup = Backup("2026-11-28T12-00-00Z", "/b/x.sqlite", 2**20, "")
    shown = text(backups_table(Backups([backup], 7, 172_800)))
    assert "2026-11-28T12-00-00Z  1.0  /b/x.sqlite" in shown
    assert "kept: the newest 7 of each user, for 2 days; the newest always" in shown
