"""Tables at the width of a terminal, and as plain lines in a pipe."""

import io
import re
from collections.abc import Iterable
from typing import Any

import pytest
from rich.console import Console, RenderableType

from september.actors import Snapshot
from september.actors.registry import Work
from september.cli.fleet_client import Entry, Row
from september.cli.fleet_view import audit_table, engines_table
from september.cli.listing import Column, Listing
from september.cli.trace_view import actors, explanation, listing, tree
from september.traces.causes import Why
from september.traces.outline import Line
from september.traces.row import Losses, TraceRow, TraceSummary

AT = 1_795_890_000_000_000
TURN = "turn-7695b6f629744f4897da693bed1121ba"
ENGINE = "91bd8bc1-05b5-4b59-9134-22e26570b2a2"


def row(kind: str, path: str, outcome: str = "ok", **more: Any) -> TraceRow:
    return TraceRow(
        kind=kind,
        at=AT,
        trace_id="a" * 32,
        span_id="b" * 16,
        path=path,
        outcome=outcome,
        handling_us=2_345_678,
        **more,
    )


def seen() -> dict[str, RenderableType]:
    """What the commands print, with the long names of a real Engine."""
    traces = [
        TraceSummary(
            trace_id=f"{number:032x}",
            name=f"TurnDown to engine/tasks/turns/{TURN}",
            started_at=AT,
            duration_us=36_800,
            spans=340,
            failures=number,
            slowest_us=1,
            task_id="first",
        )
        for number in range(2)
    ]
    message = row("message", f"engine/tasks/turns/{TURN}", message_type="Begin", detail="x" * 90)
    failed = row("span", "execute_tool bash", "nonzero_exit", detail="No such file " * 9)
    snapshots = [
        Snapshot(
            path=f"orchestrator/engines/{ENGINE}",
            state="running",
            incarnation=1,
            restarts=0,
            handled=12_345,
            mailbox_depth=0,
            mailbox_high_water=2,
            mailbox_capacity=256,
            message_type="",
            busy_s=None,
            waiting_on=(),
            beside=(Work("Begin", 3.2, ("engine/approvals",)),),
        )
    ]
    engine = Row(ENGINE, "ada", "running", "september-engine:latest", "http://127.0.0.1:9001")
    entry = Entry(7, "2026-11-28T12:00:00.5Z", "ada", "auto_restart_success", "shop", {}, 12)
    return {
        "traces": listing(traces, Losses(), 31),
        "tree": tree([Line(depth=4, row=message), Line(depth=9, row=failed)], everything=True),
        "why": explanation(Why(verdict="v", steps=(message, failed), origin=(message,), also=())),
        "actors": actors(snapshots, {}),
        "engines": engines_table([engine]),
        "audit": audit_table([entry]),
    }


def printed(what: RenderableType, width: int, *, terminal: bool = True) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, color_system=None)
    console.print(what, soft_wrap=not terminal)
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", list(seen()))
def test_nothing_is_wider_than_the_terminal_and_no_word_is_cut_in_two(
    name: str, width: int
) -> None:
    lines = printed(seen()[name], width)
    assert lines and max(map(len, lines)) <= width, lines
    text = "\n".join(lines)
    for word in ("restarts", "failed", "running", "auto_restart_success", "12:00:00"):
        whole = word in "\n".join(printed(seen()[name], 400))
        assert not whole or word in text, text
    if name in ("traces", "engines", "audit"):
        assert len(lines) <= 4, text


def test_columns_that_do_not_fit_or_say_nothing_are_left_out() -> None:
    rows = Listing("name", Column("more", optional=True), "void", Column("why", fold=True))
    rows.add_row("x" * 30, "y" * 30, "", "the reason " * 3)
    assert "more" not in printed(rows, 60)[0] and "more" in printed(rows, 90)[0]
    assert "void" not in printed(rows, 90)[0]


@pytest.mark.parametrize("name", list(seen()))
def test_a_pipe_gets_one_plain_line_a_row(name: str) -> None:
    lines = printed(seen()[name], 20, terminal=False)
    assert not any(line != line.rstrip() or "\x1b" in line for line in lines)
    assert any(TURN in line or ENGINE in line or "ada" in line for line in lines)


def test_cells_in_a_pipe_are_found_by_their_place() -> None:
    rows = Listing("name", Column("size", right=True), "note", "file")
    rows.add_row("a", "1", "", "x y")
    rows.add_row("bb", "22", "two\nlines", "z")
    rows.note = "two in all"
    split: Iterable[list[str]] = [re.split(" {2,}", one) for one in _piped(rows)]
    assert list(split) == [
        ["name", "size", "note", "file"],
        ["a", "1", "-", "x y"],
        ["bb", "22", "two lines", "z"],
    ]


def test_an_empty_list_says_why_also_in_a_pipe() -> None:
    rows = Listing("name")
    rows.note = "nothing yet"
    assert _piped(rows) == ["nothing yet"] == printed(rows, 80)


def _piped(rows: Listing) -> list[str]:
    return printed(rows, 80, terminal=False)
