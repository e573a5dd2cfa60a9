"""The registry: which address is where in the tree, and what each is doing now."""

from collections.abc import Iterator
from dataclasses import dataclass

from .cell import Cell, Envelope


@dataclass(frozen=True, slots=True)
class Work:
    """A message whose work runs beside the inbox. `busy_s` (seconds) is None if not traced."""

    message_type: str
    busy_s: float | None
    waiting_on: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One actor or supervisor at one moment. `busy_s` (seconds) is None if idle or not traced.

    `message_type` is that of the message in hand; `beside`, the oldest first, is other work.
    """

    path: str
    state: str
    incarnation: int
    restarts: int
    handled: int
    mailbox_depth: int
    mailbox_high_water: int
    mailbox_capacity: int
    message_type: str
    busy_s: float | None
    waiting_on: tuple[str, ...]
    beside: tuple[Work, ...] = ()


class Registry:
    """Path to cell, for one tree."""

    def __init__(self) -> None:
        self._cells: dict[str, Cell] = {}

    def __iter__(self) -> Iterator[Cell]:
        return iter(tuple(self._cells.values()))

    def add(self, cell: Cell) -> None:
        """Enter a cell under its path."""
        if cell.path in self._cells:
            raise ValueError(f"{cell.path} is taken")
        self._cells[cell.path] = cell

    def remove(self, cell: Cell) -> None:
        """Free the path of a cell that has stopped for good."""
        self._cells.pop(cell.path, None)

    def find(self, name: str) -> Cell:
        """Return the cell at this path, or with this last name if it is the only one.

        Raises LookupError, naming what there is.
        """
        if name in self._cells:
            return self._cells[name]
        named = [cell for path, cell in self._cells.items() if path.endswith(f"/{name}")]
        if len(named) != 1:
            found = ", ".join(cell.path for cell in named) or "nothing"
            raise LookupError(f"{name!r} must name exactly one actor; found {found}")
        return named[0]

    def snapshot(self) -> list[Snapshot]:
        """Describe every actor of the tree, in the order of their creation."""
        return [describe(cell) for cell in self._cells.values()]


def describe(cell: Cell) -> Snapshot:
    """Describe one actor now."""
    held = cell.current
    return Snapshot(
        path=cell.path,
        state=cell.state.value,
        incarnation=cell.incarnation,
        restarts=cell.restarts,
        handled=cell.handled,
        mailbox_depth=len(cell.mailbox),
        mailbox_high_water=cell.mailbox.high_water,
        mailbox_capacity=cell.mailbox.capacity,
        message_type=type(held.message).__name__ if held else "",
        busy_s=_since(held, cell) if held else None,
        waiting_on=_waits(held) if held else (),
        beside=tuple(
            Work(type(one.message).__name__, _since(one, cell), _waits(one))
            for one in cell.working or ()
        ),
    )


def _since(envelope: Envelope, cell: Cell) -> float | None:
    trace = cell.runtime.trace
    return trace.clock() - envelope.began_at if trace is not None else None


def _waits(envelope: Envelope) -> tuple[str, ...]:
    return tuple(call.cell.path for call in envelope.waits or () if isinstance(call, Envelope))
