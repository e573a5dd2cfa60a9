"""A trace as a tree in the order of time, with every gap shown."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from .causes import Causes
from .row import TraceRow


class Line(Struct, frozen=True, kw_only=True):
    """A row at its depth. `gap` says that what caused it is not in the trace.

    The cause may be in another process, may not be over yet, or may have been lost.
    """

    depth: int
    row: TraceRow
    gap: bool = False


def outline(rows: Iterable[TraceRow]) -> list[Line]:
    """The rows, each below what caused it."""
    causes = Causes(rows)
    lines: list[Line] = []
    roots = [row for row in causes.rows if causes.parent(row) is None]
    left = [Line(depth=0, row=row, gap=bool(row.parent_id)) for row in reversed(roots)]
    seen: set[str] = set()
    while left:
        line = left.pop()
        if line.row.span_id in seen:
            continue
        seen.add(line.row.span_id)
        lines.append(line)
        below: Sequence[TraceRow] = causes.children(line.row)
        left += [Line(depth=line.depth + 1, row=row) for row in reversed(below)]
    return lines
