"""Finds calls that would wait for themselves, by following who waits for whom."""

from .cell import Cell, Envelope
from .span import Scope


def find_circle(sender: Scope, request: Envelope) -> list[str] | None:
    """Return the paths of the circle that `request` would close on `sender`, or None.

    Follows: a waiting message -> the message its actor holds -> the calls that one awaits.
    Costs as much as the chain is long, and next to nothing when the recipient is idle.
    """
    circle = _follow(sender, request, ())
    if circle is None:
        return None
    return [sender.cell.path if isinstance(sender, Envelope) else "(caller)", *circle]


def _follow(sender: Scope, request: Envelope, seen: tuple[Scope, ...]) -> list[str] | None:
    held = _held_up_by(request)
    if held is None or held in seen:
        return None
    if held is sender:
        return [request.cell.path]
    for call in held.waits or ():
        if isinstance(call, Envelope):
            rest = _follow(sender, call, (*seen, held))
            if rest is not None:
                return [request.cell.path, *rest]
    return None


def _held_up_by(request: Envelope) -> Envelope | None:
    """Return the message that must be done before `request` can be."""
    cell = request.cell
    if cell.working is not None and request in cell.working:
        return request
    return cell.current or _start_in_the_way(cell)


def _start_in_the_way(cell: Cell) -> Envelope | None:
    """Return the start that a cell waits for because it comes after it in the same group."""
    below, boss = cell, cell.boss
    while boss is not None:
        if below in boss.to_start[1:]:
            return _being_started(boss)
        below, boss = boss, boss.boss
    return None


def _being_started(boss: Cell) -> Envelope | None:
    while boss.to_start:
        boss = boss.to_start[0]
    return boss.current
