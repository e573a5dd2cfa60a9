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

_AFTER: Final = 2
"""Steps that are listed after one that differs."""

_WIDTH: Final = 64


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
    parts: list[Listing | Text] = [
        Text.assemble((told.path, "bold"), (f"  life {told.incarnation}", "dim"))
    ]
    parts += [
        Text(f"fed as the trace has it: {_name(row)}: {printable(why)}", "yellow")
        for row, why in told.kept
    ]
    if told.lost:
        note = f"{told.lost} observations of this time were not recorded: it may be for that"
        parts.append(Text(note, "yellow"))
    target = told.target
    parts += [_steps(told)] if target is None else _in_full(told, target)
    return Group(*parts, *_verdict(told))


def _steps(told: Replay) -> Listing:
    rows = Listing(
        "",
        Column("at", optional=True),
        "span",
        "message",
        Column("sent", right=True, optional=True),
        Column("answered then", fold=True),
    )
    end = _end(told)
    for step in told.steps[max(0, end - _SHOWN) : end]:
        rows.add_row(
            _mark(told, step),
            clock(step.row.at),
            Text(step.row.span_id, "dim"),
            step.row.message_type,
            str(len(step.calls)) if step.calls else "-",
            _short(step.then),
        )
    hidden = end - _SHOWN
    if hidden > 0:
        rows.note = f"{hidden} messages before these are answered as recorded"
    return rows


def _end(told: Replay) -> int:
    """How many steps there are to show: where one differs, not many more."""
    found = told.difference
    steps = [place for place, one in enumerate(told.steps) if found and one.row is found.row]
    return min(len(told.steps), steps[0] + 1 + _AFTER) if steps else len(told.steps)


def _mark(told: Replay, step: Step) -> Text:
    if told.difference is not None and step.row is told.difference.row:
        return Text("✗", "bold red")
    if step.row is told.stopped:
        return Text("?", "bold yellow")
    after = told.difference is not None and step.row.at > told.difference.row.at
    return Text("·", "dim") if after else Text("✓", "green")


def _in_full(told: Replay, step: Step) -> list[Listing | Text]:
    """One message: what was asked, what was answered then and now, and what was sent meanwhile.

    Ids of now are shown as those of then that they stand for.
    """
    row, asked = step.row, Listing("", Column("", fold=True), head=False)
    message = f"{row.message_type} {row.message}".rstrip()
    asked.add_row(Text("asked", "dim"), printable(message))
    asked.add_row(Text("when", "dim"), f"{clock(row.at)}, for {duration(row.handling_us)}")
    asked.add_row(Text("then", "dim"), printable(step.then))
    asked.add_row(Text("now", "dim"), printable(told.ids.as_then(step.now)))
    if not step.calls:
        return [asked]
    fold = partial(Column, fold=True)
    calls = Listing("now", "sent to", fold("what"), fold("answered then"))
    root = f"{told.path.partition('/')[0]}/"
    for call in step.calls:
        what = call.row.message if call.row is not None else call.now or ""
        calls.add_row(
            Text("sent", "green") if call.now is not None else Text("not sent", "red"),
            printable(call.path.removeprefix(root)),
            _short(f"{call.message_type} {what}".rstrip()),
            _short(call.row.detail or call.row.outcome)
            if call.row is not None
            else Text("not sent then", "red"),
        )
    return [asked, calls]


def _verdict(told: Replay) -> list[Text]:
    found, stopped = told.difference, told.stopped
    if found is not None:
        return [
            Text(f"{_name(found.row)} differs", "bold red"),
            Text(f"  recorded  {printable(found.recorded)}"),
            Text(f"  now       {printable(found.now)}"),
        ]
    if stopped is None:
        return [Text(f"all {len(told.steps)} messages are answered as recorded", "bold green")]
    same = len([step for step in told.steps if step.row.at < stopped.at])
    return [
        Text(f"{same} messages are answered as recorded", "green"),
        Text(f"from {_name(stopped)} on it is not known: {printable(told.why)}", "bold yellow"),
    ]


def _name(row: TraceRow) -> str:
    return f"{row.message_type} {row.span_id}"


def _short(text: str) -> str:
    clean = _line(text)
    return clean if len(clean) <= _WIDTH else f"{clean[:_WIDTH]}…"


def _line(step: str) -> str:
    return printable(step).replace("\n", " ⏎ ")
