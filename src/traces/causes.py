"""From an effect to its root cause, along what was recorded: pure, on rows of one or more traces.

Two directions, as far as each leads. A step in an actor's life follows what it was decided for:
spawn <- restart <- crash <- message. Work that failed follows the part of it that failed last.
A tool's failure is an answer to the model, not the end of its turn, so a turn is not explained by
it unless nothing else explains it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec import Struct

from .row import FAULTS, TraceRow

_LIFE: Final = frozenset({"spawn", "restart", "gave_up", "stop"})
_CANCELS: Final = "CancelTurn"


class Why(Struct, frozen=True, kw_only=True):
    """An explanation. `steps` lead from what was asked about to the root cause, which is last.

    `origin` is what the root cause happened in, innermost first, up to what began the trace.
    `also` are other failures beside the path, oldest first. `verdict` says it in one sentence.
    """

    verdict: str
    steps: tuple[TraceRow, ...]
    origin: tuple[TraceRow, ...]
    also: tuple[TraceRow, ...]


class Causes:
    """The causal links between rows."""

    def __init__(self, rows: Iterable[TraceRow]) -> None:
        self.rows = sorted({(r.span_id, r.kind): r for r in rows}.values(), key=lambda r: r.at)
        self._by_span = {row.span_id: row for row in self.rows}
        self._crashes = {(r.path, r.incarnation): r for r in self.rows if r.kind == "crash"}
        self._children: dict[str, list[TraceRow]] = {}
        for row in self.rows:
            self._children.setdefault(row.parent_id, []).append(row)

    def parent(self, row: TraceRow) -> TraceRow | None:
        """What caused this row, if it was recorded."""
        return self._by_span.get(row.parent_id)

    def children(self, row: TraceRow) -> Sequence[TraceRow]:
        """What this row caused, oldest first."""
        return self._children.get(row.span_id, ())

    def below(self, row: TraceRow) -> list[TraceRow]:
        """All that this row caused, directly or not."""
        found, left = list[TraceRow](), [row]
        while left:
            below = self.children(left.pop())
            found += below
            left += below
        return sorted(found, key=lambda one: one.at)

    def explain(self, subject: TraceRow) -> Why:
        """Say why `subject` is as it is."""
        steps = [subject]
        while (cause := self._cause(steps[-1])) is not None and cause not in steps:
            steps.append(cause)
        root = steps[-1]
        origin = self._above(root, steps)
        near = self.below(subject if len(steps) == 1 else steps[0])
        also = [row for row in near if row.failed and row not in steps and self._is_leaf(row)]
        return Why(
            verdict=verdict(subject, root),
            steps=tuple(steps),
            origin=tuple(origin),
            also=tuple(also),
        )

    def _cause(self, row: TraceRow) -> TraceRow | None:
        if row.kind in _LIFE:
            return self._decided_for(row)
        if row.kind in FAULTS:
            return self._failed_in(row)
        if row.outcome == "cancelled" and row.path.startswith("invoke_agent"):
            return self._cancelled_by(row)
        if row.message_type == _CANCELS:
            return self._root_of(row)
        if row.failed:
            return self._failed_part(row)
        return self._contained(row)

    def _decided_for(self, row: TraceRow) -> TraceRow | None:
        """The step before in the life of an actor; a first start and an ordinary stop have none."""
        before = self.parent(row)
        if before is None or (before.kind not in _LIFE and before.kind not in FAULTS):
            return None
        return before if self._goes_back_to_fault(before) else None

    def _goes_back_to_fault(self, row: TraceRow | None) -> bool:
        while row is not None and row.kind in _LIFE:
            row = self.parent(row)
        return row is not None and row.failed

    def _failed_in(self, row: TraceRow) -> TraceRow | None:
        """What made an actor crash: a call of its message that failed, if one did."""
        killer = self.parent(row)
        if row.kind != "crash" or killer is None:
            return None
        return self._last(killer, lambda one: one.kind != "crash" and one.ended_at <= row.at)

    def _failed_part(self, row: TraceRow) -> TraceRow | None:
        """The part of failed work that failed last; a crash before what it ended.

        A part that failed the same way comes first: what was tried against it may have failed, too.
        """
        crash = self._last(row, lambda one: one.kind == "crash") or self._struck_by(row)
        alike = self._last(row, lambda one: one.outcome == row.outcome and not _is_tool(one))
        last = alike or self._last(row, lambda one: not _is_tool(one))
        return crash or last or self._adrift(row)

    def _struck_by(self, row: TraceRow) -> TraceRow | None:
        """The crash that took this message with it, though another message caused it."""
        if row.kind != "message" or row.outcome != "crashed":
            return None
        return self._crashes.get((row.path, row.incarnation))

    def _adrift(self, row: TraceRow) -> TraceRow | None:
        """The last failure meanwhile whose own cause is not recorded: it may still be going on."""
        if any(self.children(row)):
            return None
        for one in reversed(self.rows):
            if (
                one.failed
                and one is not row
                and one.trace_id == row.trace_id
                and self.parent(one) is None
                and one.parent_id
                and row.at <= one.at <= row.ended_at
            ):
                return one
        return None

    def _contained(self, row: TraceRow) -> TraceRow | None:
        """Work that went well may still have had a failure inside: the first, as it began there."""
        for one in self.below(row):
            if one.failed and not one.path.startswith("invoke_agent"):
                return one
        return None

    def _last(self, row: TraceRow, fits: Callable[[TraceRow], bool]) -> TraceRow | None:
        failed = [one for one in self.children(row) if one.failed and fits(one)]
        if failed:
            return max(failed, key=lambda one: one.ended_at)
        for one in reversed(self.children(row)):  # a failure may lie below work that went well
            if one.kind == "message" and one.outcome == "withdrawn" and self.children(one):
                found = self._last(one, fits)
                if found is not None:
                    return found
        return None

    def _cancelled_by(self, row: TraceRow) -> TraceRow | None:
        """The request to end this turn, which came in a trace of its own."""
        for one in self.rows:
            if one.message_type == _CANCELS and one.path.endswith(f"/{row.turn_id}"):
                return one
        return None

    def _root_of(self, row: TraceRow) -> TraceRow | None:
        above = self._above(row, [row])
        return above[-1] if above else None

    def _above(self, row: TraceRow, without: Sequence[TraceRow]) -> list[TraceRow]:
        above: list[TraceRow] = []
        parent = self.parent(row)
        while parent is not None and parent not in above:
            above.append(parent)
            parent = self.parent(parent)
        return [one for one in above if one not in without or one is without[0]]

    def _is_leaf(self, row: TraceRow) -> bool:
        return not any(one.failed for one in self.children(row))


def _is_tool(row: TraceRow) -> bool:
    return row.path.startswith("execute_tool ")


def verdict(subject: TraceRow, root: TraceRow) -> str:
    """One sentence: what it was, and why."""
    if root is subject and not root.failed and root.outcome != "cancelled":
        return f"{root.name}: nothing went wrong here ({root.outcome})"
    what = describe(root)
    return what if root is subject else f"{subject.name}: {what}"


def describe(row: TraceRow) -> str:
    """What a row says went wrong."""
    name = row.path
    match row.kind:
        case "crash":
            return f"{name} crashed: {row.detail}"
        case "gave_up":
            return f"{name} gave up restarting: {row.detail}"
        case "dead_letter":
            return f"{row.message_type} to {name} was lost: {row.detail}"
        case "deadline":
            return f"deadline missed: {name} did not answer in time"
        case "deadlock":
            return row.detail
        case "span":
            return f"{name}: {row.outcome}" + (f": {row.detail}" if row.detail else "")
        case _:
            return f"{row.name}: {row.outcome}" + (f": {row.detail}" if row.detail else "")
