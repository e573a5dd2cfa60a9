"""The `september` command: which commands there are, and how an error leaves the process.

Exit codes: 0 done, 1 it failed, 2 it was asked for wrongly (usage or settings).
"""

import gc
import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Final

import click

from ..errors import ConfigError, SeptemberError

COMMANDS: Final[Mapping[str, str]] = {
    "engine": "Run an Engine.",
    "chat": "Talk to a running Engine.",
    "orchestrator": "Run an orchestrator.",
    "fleet": "Operate a fleet through its orchestrator.",
    "demo": "Start the whole system on fresh data and play one turn.",
    "trace": "Show what a running Engine or orchestrator recorded, and why.",
    "actors": "Show the tree of actors of a running service.",
    "doctor": "Check that this machine can run an Engine.",
    "config": "Show every setting, its value and where it comes from.",
    "migrate": "Bring a brain up to date.",
    "keys": "Make and hash Engine keys.",
    "docs": "Print the reference pages that come from the code.",
}
"""Name and summary of each command; it is `command` in the module of its name.

The summaries stand here so that `september --help` imports none of the modules.
"""


class LazyGroup(click.Group):
    """Imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = _imported(cmd_name).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _imported(command: str) -> ModuleType:
    """A module is made of objects that stay: looking for garbage among them costs a tenth of it."""
    gc.disable()
    try:
        return import_module(f".{command}", __package__)
    finally:
        gc.enable()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="september")
def september() -> None:
    """September: a per-user agent Engine."""


def main() -> None:
    """Run the command line; an error becomes one line on stderr and an exit code."""
    try:
        september(prog_name="september")
    except SeptemberError as error:
        click.echo(f"september: {error.message}", err=True)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
