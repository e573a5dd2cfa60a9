"""What the commands print with: consoles, JSON, and text made safe for a terminal."""

import re
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import click
import msgspec
from rich.console import Console, RenderableType

_WIDTH_OF_A_PIPE: Final = 160
"""Columns where there is no terminal: wide enough that a row stays one line for grep."""

_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""All control characters except newline and tab (ECMA-48, C0 and C1)."""


def console(*, stderr: bool = False) -> Console:
    """A console that colours only a terminal, and not under NO_COLOR."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDTH_OF_A_PIPE
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=width)


def show(what: RenderableType) -> None:
    """Print it fitted to the terminal; elsewhere no line is cut or broken."""
    out = console()
    out.print(what, soft_wrap=not out.is_terminal)


def show_json(value: object) -> None:
    """Print a value as indented JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


@contextmanager
def until_interrupted() -> Generator[None]:
    """Run until Ctrl-C, which is how one leaves, and no failure."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(err=True)


def printable(text: str) -> str:
    """`text` without control characters: what a model wrote must not steer the terminal."""
    return _CONTROLS.sub("", text)
