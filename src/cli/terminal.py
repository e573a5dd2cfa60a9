"""What the commands print with: consoles, tables, and text made safe for a terminal."""

import re
import sys
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

_WIDTH_OF_A_PIPE: Final = 160
"""Columns where there is no terminal: wide enough that a row stays one line for grep."""

_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""All control characters except newline and tab (ECMA-48, C0 and C1)."""


def console(*, stderr: bool = False) -> Console:
    """A console that colours only a terminal, and not under NO_COLOR."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDTH_OF_A_PIPE
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=width)


def table(*columns: str) -> Table:
    """An empty table in the style of all commands; the last column takes the rest."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in columns:
        made.add_column(name, overflow="fold", no_wrap=name == columns[0])
    return made


def printable(text: str) -> str:
    """`text` without control characters: what a model wrote must not steer the terminal."""
    return _CONTROLS.sub("", text)
