"""What a replay found, on a terminal: step by step, then where it goes another way."""

from functools import partial
from typing import Final

from rich.console import Group
from rich.text import Text

from ..brain.replay.turn import TurnReplay
from ..traces.row import TraceRow
from ..traces.steps import Replay, Step
from .listing import Column, Listing
from .terminal import printable
from .trace_view import clock, duration

_SHOWN: Final = 12
"""Steps that are listed, the last; those before them are counted."""

_WIDTH: Final = 60


def turn_report(told: TurnReplay) -> Group:
    """The steps that are the same, and the first that is not."""
    found = told.difference
    same = len(told.recorded) if found is None else found[0] - 1
    lines = [
        Text(f"  {number}. {_line(step)}", "dim") for number, step in enumerate(told.now[:same], 1)
    ]
    if found is None:
        return Group(*lines, Text(f"all {same} steps are as recorded", "bold green"))
    number, before, after = found
    return Group(
        *lines,
        Text(f"step {number} differs", "bold red"),
        Text(f"  recorded  {_line(before)}"),
        Text(f"  now       {_line(after)}"),
    )


def actor_report(told: Replay) -> Group:
    """The messages and how they compare, one of them in full if it was asked for."""
    parts: list[Listing | Text] = [_heading(told)]
    parts += [
        Text(f"fed as the trace has it: {_name(row)}: {why}", "yellow") for row, why in told.kept
    ]
    if told.lost:
        note = f"{told.lost} observations of this time were not recorded; that may be all there is"
        parts.append(Text(note, "yellow"))
    parts += _in_full(told.target) if told.target is not None else [_steps(told)]
    return Group(*parts, *_verdict(told))


def _heading(told: Replay) -> Text:
    return Text.assemble((told.path, "bold"), (f"  life {told.incarnation}", "dim"))


def _steps(told: Replay) -> Listing:
    rows = Listing(
        "",
        "at",
        Column("message", fold=True),
        Column("answered then", fold=True),
        Column("sent", right=True, optional=True),
        "span",
    )
    for step in told.steps[-_SHOWN:]:
        sent = str(len(step.calls)) if step.calls else "-"
        message = f"{step.row.message_type} {step.row.message}".rstrip()
        rows.add_row(
            _mark(told, step),
            clock(step.row.at),
            _short(message),
            _short(step.then),
            sent,
            Text(step.row.span_id, "dim"),
        )
    return rows


def _mark(told: Replay, step: Step) -> Text:
    if told.difference is not None and step.row is told.difference.row:
        return Text("✗", "bold red")
    if step.row is told.stopped:
        return Text("?", "bold yellow")
    return Text("✓", "green")


def _in_full(step: Step) -> list[Listing | Text]:
    """One message: what was asked, what was answered then and now, and what was sent meanwhile."""
    asked = Listing("", Column("", fold=True), head=False)
    row = step.row
    message = f"{row.message_type} {row.message}".rstrip()
    asked.add_row(Text("asked", "dim"), printable(message))
    asked.add_row(Text("when", "dim"), f"{clock(row.at)}, for {duration(row.handling_us)}")
    asked.add_row(Text("then", "dim"), printable(step.then))
    asked.add_row(Text("now", "dim"), printable(step.now))
    fold = partial(Column, fold=True)
    calls = Listing("sent to", fold("what"), fold("answered"), "now")
    for call in step.calls:
        then = call.row
        what = then.message if then is not None else call.now or ""
        calls.add_row(
            printable(call.path),
            _short(f"{call.message_type} {what}".rstrip()),
            _short(_answered(then)) if then is not None else Text("not sent then", "red"),
            Text("sent", "green") if call.now is not None else Text("not sent", "red"),
        )
    return [asked, calls] if step.calls else [asked]


def _answered(row: TraceRow) -> str:
    return row.detail or row.outcome


def _verdict(told: Replay) -> list[Text]:
    found = told.difference
    if found is not None:
        return [
            Text(f"{_name(found.row)} differs", "bold red"),
            Text(f"  recorded  {printable(found.recorded)}"),
            Text(f"  now       {printable(found.now)}"),
        ]
    if told.stopped is None:
        return [Text(f"all {len(told.steps)} messages are answered as recorded", "bold green")]
    same = len([step for step in told.steps if step.row.at < told.stopped.at])
    return [
        Text(f"{same} messages are answered as recorded", "green"),
        Text(
            f"from {_name(told.stopped)} on it is not known: {printable(told.why)}", "bold yellow"
        ),
    ]


def _name(row: TraceRow) -> str:
    return f"{row.message_type} {row.span_id}"


def _short(text: str) -> str:
    clean = printable(text).replace("\n", " ⏎ ")
    return clean if len(clean) <= _WIDTH else f"{clean[:_WIDTH]}…"


def _line(step: str) -> str:
    return printable(step).replace("\n", " ⏎ ")
