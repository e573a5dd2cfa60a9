"""Traces on a terminal: lists, trees with bars, explanations, the table of actors."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from ..actors import Snapshot
from ..actors.registry import Work
from ..traces.causes import Why, describe
from ..traces.outline import Line
from ..traces.row import Losses, TraceRow, TraceSummary
from .listing import Column, Listing
from .terminal import printable

_BAR: Final = 24
_BUSY: Final = {"running": "green", "starting": "yellow", "down": "yellow", "ended": "yellow"}
PLUMBING: Final = frozenset({"Read", "Write", "Append"})
"""Messages that every turn sends by the hundred; shown only if asked for, or if they failed."""


def duration(microseconds: int) -> str:
    """A time that a person can read."""
    if microseconds < 1_000:
        return f"{microseconds} µs"
    if microseconds < 1_000_000:
        return f"{microseconds / 1000:.1f} ms"
    if microseconds < 120_000_000:
        return f"{microseconds / 1_000_000:.2f} s"
    minutes, seconds = divmod(microseconds // 1_000_000, 60)
    if minutes < 120:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"


def clock(microseconds: int) -> str:
    """A moment, in local time; with its day unless that is today."""
    at = datetime.fromtimestamp(microseconds / 1e6)
    today = at.date() == datetime.now().date()
    return at.strftime("%H:%M:%S.%f" if today else "%m-%d %H:%M:%S.%f")[:-3]


def listing(traces: Sequence[TraceSummary], losses: Losses, hidden: int = 0) -> RenderableType:
    """A list of traces, how many are hidden, and what could not be recorded."""
    rows = Listing(
        "trace",
        "began",
        Column("took", right=True),
        Column("spans", right=True, optional=True),
        Column("failed", right=True),
        Column("what", fold=True),
        Column("task", optional=True),
    )
    for one in traces:
        failed = Text(str(one.failures), "bold red") if one.failures else Text("0", "dim")
        rows.add_row(
            one.trace_id,
            clock(one.started_at),
            duration(one.duration_us),
            str(one.spans),
            failed,
            Text(printable(one.name), no_wrap=True, overflow="ellipsis"),
            printable(one.task_id),
        )
    more = f"{hidden} that no request began are hidden; --all shows them" if hidden else ""
    rows.note = more if traces else "no trace fits; run a turn, or ask for less"
    lost = losses.overload + losses.store
    note = Text(f"{lost} observations were not recorded; traces have gaps", "yellow")
    return Group(rows, note) if lost else rows


def heading(trace_id: str, lines: Sequence[Line]) -> Text:
    """What a trace is about, in one line."""
    rows = [line.row for line in lines]
    begin, failed = min(row.at - row.wait_us for row in rows), sum(row.failed for row in rows)
    told = [
        clock(begin),
        duration(max(row.ended_at for row in rows) - begin),
        f"{len(rows)} rows",
        f"{failed} failed" if failed else "nothing failed",
    ]
    for name, value in (
        ("task", next((row.task_id for row in rows if row.task_id), "")),
        ("", next((row.turn_id for row in rows if row.turn_id), "")),
    ):
        told += [f"{name} {printable(value)}".strip()] if value else []
    return Text(f"{trace_id}  {' · '.join(told)}", "dim")


def tree(lines: Sequence[Line], *, everything: bool) -> RenderableType:
    """A trace: each row below its cause, with a bar of when it ran."""
    shown = [line for line in lines if everything or _tells(line.row)]
    if not shown:
        return Text("nothing but reads and writes; --all shows them")
    begin = min(line.row.at for line in shown)
    total = max(max(line.row.ended_at for line in shown) - begin, 1)
    grid = Listing("", Column("", right=True), Column("", fold=True), head=False)
    for line in shown:
        grid.add_row(_bar(line.row, begin, total), duration(line.row.handling_us), _label(line))
    hidden = len(lines) - len(shown)
    grid.note = f"{hidden} messages of the store and the log are hidden; --all shows them"
    if not hidden:
        grid.note = ""
    return grid


def _tells(row: TraceRow) -> bool:
    return row.failed or row.message_type not in PLUMBING


def _bar(row: TraceRow, begin: int, total: int) -> Text:
    start = min(_BAR - 1, (row.at - begin) * _BAR // total)
    length = max(1, min(_BAR - start, row.handling_us * _BAR // total))
    style = "red" if row.failed else "cyan" if row.kind == "span" else "blue"
    return Text(" " * start + "█" * length + " " * (_BAR - start - length), style)


def _label(line: Line) -> Text:
    row = line.row
    text = Text("  " * line.depth, no_wrap=not row.failed, overflow="ellipsis")
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
    root = why.steps[-1]
    rows = Listing("", Column("", fold=True), head=False)
    for depth, row in enumerate(why.steps):
        lead = "" if depth == 0 else "  " * depth + "└ because "
        rows.add_row(clock(row.at), Text(f"{lead}{printable(describe(row))}"))
    for heading_, more in (("in", why.origin), ("also failed", why.also)):
        if more:
            rows.add_row("", Text(heading_, "dim"))
        for row in more:
            told = describe(row) if row.failed else row.name
            rows.add_row(Text(clock(row.at), "dim"), Text(printable(told), "dim"))
    where = f"september trace show {root.trace_id}"
    return Group(
        Text(printable(why.verdict), "bold red" if root.failed else "bold"),
        rows,
        Text(f"all of it: {where}", "dim"),
    )


def actors(snapshots: Sequence[Snapshot], rates: dict[str, float]) -> Listing:
    """The tree of actors."""
    rows = Listing(
        "actor",
        "state",
        Column("restarts", right=True),
        Column("mailbox", right=True),
        Column("now", fold=True),
        Column("handled", right=True, optional=True),
        Column("per s", right=True, optional=True),
        Column("peak", right=True, optional=True),
    )
    for one in snapshots:
        full = one.mailbox_depth > one.mailbox_capacity // 2
        rows.add_row(
            "  " * one.path.count("/") + one.path.rpartition("/")[2],
            Text(one.state, _BUSY.get(one.state, "red")),
            Text(str(one.restarts), "bold yellow" if one.restarts else "dim"),
            Text(str(one.mailbox_depth), "bold red" if full else "dim"),
            _now(one),
            str(one.handled),
            f"{rates[one.path]:.1f}" if one.path in rates else "",
            str(one.mailbox_high_water),
        )
    return rows


def _now(one: Snapshot) -> Text:
    """The message in hand, or else the oldest that is worked on beside the inbox."""
    held = [Work(one.message_type, one.busy_s, one.waiting_on)] if one.message_type else []
    works = [*held, *one.beside]
    if not works:
        return Text("idle", "dim")
    work = works[0]
    busy = f" for {duration(int(work.busy_s * 1e6))}" if work.busy_s is not None else ""
    waits = f", waits for {', '.join(map(_last, work.waiting_on))}" if work.waiting_on else ""
    more = f" and {len(works) - 1} more" if len(works) > 1 else ""
    return Text(f"{work.message_type}{busy}{waits}{more}", "yellow" if held else "")


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def passing(row: TraceRow) -> Text:
    """A row as it comes in."""
    text = Text(f"{clock(row.at)}  {duration(row.handling_us):>9}  ")
    text.append(printable(row.name), "red" if row.failed else "")
    return text.append(f"  {row.outcome} {printable(row.detail)}" if row.failed else "", "red")
