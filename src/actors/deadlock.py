"""Finds calls that would wait for themselves, by following who waits for whom."""

from .cell import Envelope
from .span import Scope


def find_circle(sender: Scope, request: Envelope) -> list[str] | None:
    """Return the paths of the circle that `request` would close on `sender`, or None.

    Follows: a waiting message -> the message its actor holds -> the calls that one awaits.
    Costs as much as the chain is long.
    """
    circle = _follow(sender, request, ())
    if circle is None:
        return None
    return [cell_path(sender), *circle]


def cell_path(scope: Scope) -> str:
    """Name the actor that holds this message; code that is no actor is `(caller)`."""
    return scope.cell.path if isinstance(scope, Envelope) else "(caller)"


def _follow(sender: Scope, request: Envelope, seen: tuple[Scope, ...]) -> list[str] | None:
    cell = request.cell
    held = request if request in cell.working else cell.current
    if held is sender:
        return [cell.path]
    if held is None or held in seen:
        return None
    for call in held.waits or ():
        if isinstance(call, Envelope):
            rest = _follow(sender, call, (*seen, held))
            if rest is not None:
                return [cell.path, *rest]
    return None
