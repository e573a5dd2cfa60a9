"""A turn on a terminal: text as it comes, thinking dimmed, tool calls as cards, a summary."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from rich.console import Console

from ..brain.channels.events import (
    CompactionEvent,
    Error,
    Event,
    Heartbeat,
    HitlRequest,
    HitlResolved,
    HookResult,
    MediaLeftOut,
    MemoryRetrieval,
    PermissionPrompt,
    SubAgent,
    TextDelta,
    ThinkingDelta,
    ThreadLifecycle,
    ToolCall,
    ToolResult,
    Usage,
    WorkingMemoryUpdate,
)
from .terminal import printable

Prose: TypeAlias = Literal["text", "thinking"]

_RESULT_LINES: Final = 4
"""Lines of a tool's output that its card shows."""


@dataclass(slots=True)
class Tally:
    """What a turn has used so far; `cost_usd` counts the calls whose price is known."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: float = 0.0

    def add(self, usage: Usage) -> None:
        """Count one model call."""
        self.calls += 1
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        self.cached_tokens += usage.cache_hit_tokens
        self.cost_usd += usage.cost_usd or 0.0

    def __str__(self) -> str:
        cached = f" ({self.cached_tokens:,} cached)" if self.cached_tokens else ""
        cost = f" · ${self.cost_usd:.4f}" if self.cost_usd else ""
        calls = f"{self.calls} model call{'' if self.calls == 1 else 's'}"
        return f"{calls} · {self.input_tokens:,} in{cached} · {self.output_tokens:,} out{cost}"


class Renderer:
    """Prints the events of one turn. `failed` is true once the turn has errored."""

    def __init__(self, console: Console) -> None:
        self.failed = False
        self._console = console
        self._prose: Prose | None = None
        self._at_line_start = True
        self._below_card = False
        self._place: int | None = None
        self._tally = Tally()
        self._began = time.monotonic()

    def show(self, event: Event) -> None:
        """Print one event."""
        if isinstance(event.sub_agent, SubAgent):
            self._nested(event, event.sub_agent.agent)
            return
        match event:
            case TextDelta(text=text):
                self._write("text", text)
            case ThinkingDelta(text=text):
                self._write("thinking", text)
            case ToolCall(tool=tool, input=arguments):
                self._line(f"▸ {tool}  {summary(arguments)}", "cyan")
            case ToolResult():
                self._result(event)
            case Usage():
                self._tally.add(event)
            case ThreadLifecycle(phase=phase):
                self._phase(phase)
            case Error(error=code, message=message):
                self._line(f"✗ {code}: {message}", "bold red", whole=True)
            case _:
                self._aside(event)

    def _nested(self, event: Event, agent: str) -> None:
        """What a sub-agent does; what it says comes as the result of the call that runs it."""
        match event:
            case ToolCall(tool=tool, input=arguments):
                self._line(f"  ▸ {agent}: {tool}  {summary(arguments)}", "dim")
            case ToolResult(tool=tool, error=str(error)):
                self._line(f"  ✗ {agent}: {tool}  {error}", "red")
            case Usage():
                self._tally.add(event)
            case _:
                self._aside(event)

    def _aside(self, event: Event) -> None:
        """What goes on beside the answer."""
        match event:
            case Heartbeat(queued=int(place)) if place != self._place:
                self._place = place
                self._line(f"… waiting for a free slot, number {place} in line", "yellow")
            case PermissionPrompt(tool=tool, reason=reason):
                self._line(f"! {tool} needs your permission: {reason}", "yellow", whole=True)
            case HitlRequest():
                self._question(event)
            case HitlResolved(by="expiry"):
                self._line("… nobody answered in time", "yellow")
            case WorkingMemoryUpdate(key=key, value=value):
                self._line(f"· {'noted' if value is not None else 'forgot'} {key}", "dim")
            case MemoryRetrieval(items=items) if items:
                self._line(f"· recalled {len(items)} from memory", "dim")
            case HookResult(hook=hook, outcome=outcome, message=message):
                self._line(f"! hook {hook} {outcome}  {message}", "yellow")
            case MediaLeftOut(kind=kind, reason=reason):
                self._line(f"! the model did not get the {kind}: {reason}", "yellow", whole=True)
            case CompactionEvent(before_tokens=before, after_tokens=after):
                self._line(f"· condensed the conversation: {before:,} to {after:,} tokens", "dim")
            case _:
                pass

    def _write(self, prose: Prose, text: str) -> None:
        """Go on with the text or the thinking; a change of the two begins a new line."""
        if prose != self._prose:
            self.end_line()
            self._print("\n" if self._below_card else "", "")
            self._prose, self._below_card = prose, False
            if prose == "thinking":
                self._print("thinking: ", "dim italic")
        self._print(printable(text), "dim italic" if prose == "thinking" else "")

    def _print(self, text: str, style: str) -> None:
        if text:
            self._console.print(text, style=style, end="", soft_wrap=True)
            self._at_line_start = text.endswith("\n")

    def end_line(self) -> None:
        """Begin a new line unless the last one has ended."""
        if not self._at_line_start:
            self._print("\n", "")
        self._prose = None

    def _line(self, text: str, style: str, *, whole: bool = False) -> None:
        """A line of its own, cut to the terminal's width unless it is wanted `whole`."""
        self.end_line()
        line = " ".join(printable(text).split("\n"))
        width = self._console.width
        if not whole and len(line) > width:
            line = line[: width - 1] + "…"
        self._print(line + "\n", style)
        self._below_card = True

    def _result(self, result: ToolResult) -> None:
        mark, style = ("✓", "green") if result.error is None else ("✗", "red")
        error = f"  {result.error}" if result.error else ""
        self._line(f"{mark} {result.tool}  {_duration(result.duration_ms)}{error}", style)
        lines = result.output.strip().splitlines()
        for line in lines[:_RESULT_LINES]:
            self._line(f"  {line}".rstrip(), "dim")
        left = len(lines) - _RESULT_LINES
        if left > 0 or result.truncated:
            more = f"{left} more line{'' if left == 1 else 's'}" if left > 0 else "cut short"
            self._line(f"  … {more}", "dim")

    def _question(self, request: HitlRequest) -> None:
        self._line(f"? {request.question}", "bold yellow", whole=True)
        if isinstance(request.input, dict):
            self._line(f"  {request.tool}  {summary(request.input)}", "yellow", whole=True)
        if isinstance(request.options, list):
            for number, option in enumerate(request.options, start=1):
                self._line(f"  {number}. {option}", "yellow")

    def _phase(self, phase: str) -> None:
        if phase == "started":
            return
        self.failed = phase == "errored"
        seconds = time.monotonic() - self._began
        self._line(f"— {phase} · {self._tally} · {seconds:.1f} s", "dim")


def summary(arguments: Mapping[str, object]) -> str:
    """A tool's input in one line: a lone value as it is, several with their names."""
    if len(arguments) == 1:
        return " ".join(map(_plain, arguments.values()))
    return "  ".join(f"{name}={_plain(value)}" for name, value in arguments.items())


def _plain(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return " ".join(text.split())


def _duration(ms: int) -> str:
    return f"{ms} ms" if ms < 1000 else f"{ms / 1000:.1f} s"
