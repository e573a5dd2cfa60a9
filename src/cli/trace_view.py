"""Traces on a terminal: lists, trees with bars, explanations, the table of actors."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ..actors import Snapshot
from ..traces.causes import Why, describe
from ..traces.outline import Line
from ..traces.row import Losses, TraceRow, TraceSummary
from .terminal import printable, table

_BAR: Final = 24
_BUSY: Final = {"running": "green", "starting": "yellow", "down": "yellow", "ended": "yellow"}
_PLUMBING: Final = frozenset({"Read", "Write", "Append"})
"""Messages that every turn sends by the hundred; shown only if asked for, or if they failed."""


def duration(microseconds: int) -> str:
    """A time that a person can read."""
    if microseconds < 1_000:
        return f"{microseconds} µs"
    if microseconds < 1_000_000:
        return f"{microseconds / 1000:.1f} ms"
    return f"{microseconds / 1_000_000:.2f} s"


def clock(microseconds: int) -> str:
    """A moment, in local time."""
    return datetime.fromtimestamp(microseconds / 1e6).strftime("%H:%M:%S.%f")[:-3]


def listing(traces: Sequence[TraceSummary], losses: Losses, hidden: int = 0) -> Group:
    """A list of traces, how many are hidden, and what could not be recorded."""
    rows = table("trace", "began", "took", "spans", "failed", "what", "task")
    for one in traces:
        failed = Text(str(one.failures), "bold red") if one.failures else Text("-", "dim")
        rows.add_row(
            one.trace_id,
            clock(one.started_at),
            duration(one.duration_us),
            str(one.spans),
            failed,
            printable(one.name),
            printable(one.task_id),
        )
    lost = losses.overload + losses.store
    note = Text(f"{lost} observations were not recorded", "yellow") if lost else Text()
    more = Text(f"{hidden} that no request began are hidden; --all" if hidden else "", "dim")
    return Group(rows if traces else Text("no trace fits; run a turn, or ask for less"), more, note)


def tree(lines: Sequence[Line], *, everything: bool) -> Group:
    """A trace: each row below its cause, with a bar of when it ran."""
    shown = [line for line in lines if everything or _tells(line.row)]
    if not shown:
        return Group(Text("nothing to show"))
    begin = min(line.row.at for line in shown)
    total = max(max(line.row.ended_at for line in shown) - begin, 1)
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    for line in shown:
        grid.add_row(_bar(line.row, begin, total), duration(line.row.handling_us), _label(line))
    hidden = len(lines) - len(shown)
    note = Text(f"{hidden} messages of the store and the log are hidden; --all", "dim")
    return Group(grid, note) if hidden else Group(grid)


def _tells(row: TraceRow) -> bool:
    return row.failed or row.message_type not in _PLUMBING


def _bar(row: TraceRow, begin: int, total: int) -> Text:
    start = min(_BAR - 1, (row.at - begin) * _BAR // total)
    length = max(1, min(_BAR - start, row.handling_us * _BAR // total))
    style = "red" if row.failed else "cyan" if row.kind == "span" else "blue"
    return Text(" " * start + "█" * length + " " * (_BAR - start - length), style)


def _label(line: Line) -> Text:
    row = line.row
    text = Text("  " * line.depth)
    if line.gap:
        text.append("… ", "dim")
    text.append(printable(row.name), "bold" if row.kind == "span" else "")
    if row.failed:
        text.append(f"  {row.outcome}", "bold red")
        text.append(f" {printable(row.detail)}" if row.detail else "", "red")
    elif row.detail and row.kind != "span":
        text.append(f"  {printable(row.detail)}", "dim")
    return text


def explanation(why: Why) -> Group:
    """From the effect to the root cause."""
    lines = [Text(printable(why.verdict), "bold red" if why.steps[-1].failed else "bold")]
    for depth, row in enumerate(why.steps):
        lead = "" if depth == 0 else "  " * depth + "└ because "
        lines.append(Text(f"{clock(row.at)}  {lead}{printable(describe(row))}"))
    if why.origin:
        lines.append(Text("in", "dim"))
        lines += [Text(f"{clock(row.at)}  {printable(row.name)}", "dim") for row in why.origin]
    if why.also:
        lines.append(Text("also failed", "dim"))
        lines += [Text(f"{clock(r.at)}  {printable(describe(r))}", "dim") for r in why.also]
    return Group(*lines)


def actors(snapshots: Sequence[Snapshot], rates: dict[str, float]) -> Table:
    """The tree of actors."""
    rows = table("actor", "state", "restarts", "mailbox", "most", "handled", "per s", "now")
    for one in snapshots:
        depth = one.path.count("/")
        full = one.mailbox_depth > one.mailbox_capacity // 2
        rows.add_row(
            "  " * depth + one.path.rpartition("/")[2],
            Text(one.state, _BUSY.get(one.state, "red")),
            Text(str(one.restarts or "-"), "bold yellow" if one.restarts else "dim"),
            Text(str(one.mailbox_depth or "-"), "bold red" if full else "dim"),
            str(one.mailbox_high_water),
            str(one.handled),
            f"{rates[one.path]:.1f}" if one.path in rates else "-",
            _now(one),
        )
    return rows


def _now(one: Snapshot) -> Text:
    if not one.message_type:
        return Text("idle", "dim")
    busy = f" for {duration(int(one.busy_s * 1e6))}" if one.busy_s is not None else ""
    waits = f", waits for {', '.join(one.waiting_on)}" if one.waiting_on else ""
    return Text(f"{one.message_type}{busy}{waits}", "yellow" if (one.busy_s or 0) > 1 else "")


def passing(row: TraceRow) -> Text:
    """A row as it comes in."""
    text = Text(f"{clock(row.at)}  {duration(row.handling_us):>9}  ")
    text.append(printable(row.name), "red" if row.failed else "")
    return text.append(f"  {row.outcome} {printable(row.detail)}" if row.failed else "", "red")
