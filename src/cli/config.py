"""`september config`: every setting of the Engine, its value, and where it comes from."""

import sys
from functools import partial

import click
from rich.text import Text

from ..config import SETTINGS, EngineConfig, Setting
from ..errors import ConfigError
from .listing import Column, Listing
from .settings import Texts, load, written
from .terminal import show


@click.command()
@click.option("--set", "only_set", is_flag=True, help="Only what differs from the default.")
def command(only_set: bool) -> None:
    """Show every setting, its value and where it comes from.

    Secrets are not shown. Exits 2 if an Engine would not start with these settings.
    """
    texts = written()
    config, problem = _load()
    fold = partial(Column, fold=True)
    rows = Listing("setting", fold("value"), "from", fold("meaning"))
    for row in SETTINGS:
        source = texts.source(row.name)
        if source or not only_set:
            value, source = _value(row, texts, config), source or _origin(row, config)
            rows.add_row(row.name, value, source, Text(row.meaning, style="dim"))
    show(rows)
    if problem is not None:
        click.echo(f"september: {problem.message}", err=True)
        sys.exit(2)


def _load() -> tuple[EngineConfig | None, ConfigError | None]:
    try:
        return load(), None
    except ConfigError as error:
        return None, error


def _value(row: Setting, texts: Texts, config: EngineConfig | None) -> str:
    """The value as it may be shown; where the settings do not load, what was written."""
    text = texts.get(row.name)
    if row.kind.secret:
        return "(set)" if text or (config is not None and row.shown(config)) else ""
    return row.shown(config) if config is not None else text or row.default or ""


def _origin(row: Setting, config: EngineConfig | None) -> str:
    """Where a value comes from that nobody set."""
    if row.default is not None:
        return "default"
    return "derived" if config is not None and row.shown(config) else "not set"
