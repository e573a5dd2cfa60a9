"""What a turn looks like on a terminal."""

from io import StringIO

from rich.console import Console

from september.brain.channels.events import (
    Error,
    Event,
    Heartbeat,
    HitlRequest,
    TextDelta,
    ThinkingDelta,
    ThreadLifecycle,
    ToolCall,
    ToolResult,
    Usage,
)
from september.cli.render import Renderer, summary

NOW = "2026-01-01T00:00:00.000Z"


def rendered(*events: Event, terminal: bool = False) -> str:
    """The text that these events become."""
    out = StringIO()
    console = Console(
        file=out, force_terminal=terminal, width=80, highlight=False, markup=False, emoji=False
    )
    renderer = Renderer(console)
    for event in events:
        renderer.show(event)
    return out.getvalue()


def result(output: str, *, error: str | None = None, duration_ms: int = 12) -> ToolResult:
    return ToolResult(
        tool_call_id="c1",
        tool="bash",
        output=output,
        error=error,
        duration_ms=duration_ms,
        truncated=False,
    )


def usage(cost: float | None = None) -> Usage:
    return Usage(
        input_tokens=1000,
        output_tokens=10,
        cache_hit_tokens=800,
        cache_write_tokens=0,
        provider="p",
        model="m",
        cost_usd=cost,
    )


def phase(name: str) -> ThreadLifecycle:
    return ThreadLifecycle(phase=name, task_id="t", turn_id="u", timestamp=NOW)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # from a parametrized string


def test_pieces_of_text_become_one_text() -> None:
    assert rendered(TextDelta(text="Hel"), TextDelta(text="lo [b]you[/b]")) == "Hello [b]you[/b]"


def test_thinking_is_told_apart_from_the_answer() -> None:
    text = rendered(ThinkingDelta(text="hm, "), ThinkingDelta(text="yes"), TextDelta(text="Yes."))
    assert text == "thinking: hm, yes\nYes."


def test_a_tool_call_is_a_line_and_so_is_its_result() -> None:
    call = ToolCall(tool="bash", tool_call_id="c1", input={"command": "ls\n-l"})
    text = rendered(TextDelta(text="Look:"), call, result("a\nb"))
    assert text == "Look:\n▸ bash  ls -l\n✓ bash  12 ms\n  a\n  b\n"


def test_text_after_a_card_stands_apart_from_it() -> None:
    assert rendered(result("a"), TextDelta(text="So.")) == "✓ bash  12 ms\n  a\n\nSo."


def test_a_failed_tool_says_why() -> None:
    text = rendered(result("", error="permission_denied", duration_ms=1500))
    assert text == "✗ bash  1.5 s  permission_denied\n"


def test_a_long_output_is_cut() -> None:
    lines = rendered(result("\n".join(map(str, range(10))))).splitlines()
    assert lines[1:] == ["  0", "  1", "  2", "  3", "  … 6 more lines"]


def test_a_line_is_never_wider_than_the_terminal() -> None:
    call = ToolCall(tool="write_file", tool_call_id="c1", input={"content": "x" * 500})
    assert [len(line) for line in rendered(call).splitlines()] == [80]


def test_what_a_model_writes_cannot_steer_the_terminal() -> None:
    evil = "\x1b]0;title\x07\x1b[2Jhi\x9b31m\r"
    text = rendered(TextDelta(text=evil), ThinkingDelta(text=evil), result(evil))
    assert not {"\x1b", "\x07", "\x9b", "\r"} & set(text)
    assert "hi" in text


def test_colours_are_for_terminals_only() -> None:
    call = ToolCall(tool="bash", tool_call_id="c1", input={"command": "ls"})
    assert "\x1b[" not in rendered(call)
    assert "\x1b[36m" in rendered(call, terminal=True)


def test_the_place_in_line_is_said_once() -> None:
    text = rendered(
        Heartbeat(timestamp=NOW, queued=2),
        Heartbeat(timestamp=NOW, queued=2),
        Heartbeat(timestamp=NOW),
    )
    assert text == "… waiting for a free slot, number 2 in line\n"


def test_a_question_shows_its_options() -> None:
    question = HitlRequest(
        request_id="r",
        task_id="t",
        kind="question",
        question="Tea or coffee?",
        created_at=NOW,
        expires_at=NOW,
        options=["tea", "coffee"],
    )
    assert rendered(question) == "? Tea or coffee?\n  1. tea\n  2. coffee\n"


def test_a_permission_prompt_shows_what_would_run() -> None:
    question = HitlRequest(
        request_id="r",
        task_id="t",
        kind="permission",
        question="May it?",
        created_at=NOW,
        expires_at=NOW,
        tool="bash",
        input={"command": "rm -rf /x" + "y" * 100},
    )
    assert "rm -rf /x" + "y" * 100 in rendered(question), "never cut: it is what one agrees to"


def test_the_end_of_a_turn_sums_up_its_usage() -> None:
    text = rendered(phase("started"), usage(0.01), usage(0.02), phase("completed"))
    head, tail = (
        "— completed · 2 model calls · 2,000 in (1,600 cached) · 20 out · $0.0300 · ",
        " s\n",
    )
    assert text.startswith(head) and text.endswith(tail)


def test_an_error_is_the_last_line() -> None:
    text = rendered(phase("errored"), Error(error="LLM_TIMEOUT", message="too slow"))
    assert text.splitlines()[-1] == "✗ LLM_TIMEOUT: too slow"


def test_a_lone_input_value_stands_without_its_name() -> None:
    assert summary({"path": "a.txt"}) == "a.txt"
    assert summary({"path": "a.txt", "page": 2}) == "path=a.txt  page=2"
    assert summary({}) == ""
