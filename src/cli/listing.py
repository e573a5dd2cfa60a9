"""Rows below each other: fitted to a terminal, and one plain line each everywhere else."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

_GAP: Final = 2
_LEAST: Final = 16
"""Columns of a terminal that a cell which may be folded gets at least."""


@dataclass(frozen=True, slots=True)
class Column:
    """How a column behaves where room is short: numbers stand `right`, texts may `fold`.

    An `optional` one goes first, the last of them before the others. `least` is how many columns
    of the terminal it has anyhow, for rows that come in one after the other.
    """

    name: str
    right: bool = False
    fold: bool = False
    optional: bool = False
    least: int = 0


class Listing:
    """Columns, their rows, and a note that only a person needs.

    On a terminal, columns that are empty or do not fit are left out. In a pipe every row is one
    line, cells are two spaces apart, an empty one is `-`, and there is a note only if no row is.
    """

    def __init__(self, *columns: Column | str, head: bool = True) -> None:
        self.columns = [Column(one) if isinstance(one, str) else one for one in columns]
        self.rows: list[Sequence[str | Text]] = []
        self.note = ""
        self.head = head

    def add_row(self, *cells: str | Text) -> None:
        """Add a row with a cell for each column."""
        assert len(cells) == len(self.columns)
        self.rows.append(cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if console.is_terminal:
            if self.rows:
                yield self._fitted(options.max_width)
        else:
            yield from map(Text, self._lines())
        if self.note and (console.is_terminal or not self.rows):
            yield Text(self.note, "dim" if self.rows else "")

    def _fitted(self, width: int) -> Table:
        chosen = self._that_fit(width)
        made = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_header=self.head)
        for place in chosen:
            one = self.columns[place]
            made.add_column(
                one.name,
                header_style="bold",
                justify="right" if one.right else "left",
                overflow="fold" if one.fold else "ellipsis",
                no_wrap=not one.fold,
                min_width=None if one.fold else min(self._width(place), width // 2),
            )
        for row in self.rows:
            made.add_row(*(row[place] for place in chosen))
        return made

    def _that_fit(self, width: int) -> list[int]:
        """The places of the columns to show."""
        chosen = [place for place in range(len(self.columns)) if self._told(place)]
        for place in reversed(chosen[:]):
            if self._needs(chosen) > width and self.columns[place].optional:
                chosen.remove(place)
        return chosen

    def _needs(self, places: Iterable[int]) -> int:
        widths = (
            min(self._width(place), _LEAST) if self.columns[place].fold else self._width(place)
            for place in places
        )
        return sum(width + _GAP for width in widths) - _GAP

    def _told(self, place: int) -> bool:
        return not self.head or any(_plain(row[place]) for row in self.rows)

    def _width(self, place: int) -> int:
        head = cell_len(self.columns[place].name) if self.head else 0
        return max(
            [head, self.columns[place].least, *(cell_len(_plain(row[place])) for row in self.rows)]
        )

    def _lines(self) -> Iterable[str]:
        if not self.rows:
            return
        widths = [self._width(place) for place in range(len(self.columns))]
        heads = [[one.name for one in self.columns]] if self.head else []
        for row in [*heads, *self.rows]:
            cells = [_plain(cell) or ("-" if self.head else "") for cell in row]
            padded = [
                " " * (width - cell_len(cell)) + cell
                if one.right
                else cell + " " * (width - cell_len(cell))
                for one, cell, width in zip(self.columns, cells, widths, strict=True)
            ]
            yield (" " * _GAP).join(padded).rstrip()


def _plain(cell: str | Text) -> str:
    """The text of a cell, on one line."""
    return " ".join(str(cell).splitlines())
