"""What a replay compares: each message with what was answered, and what was sent meanwhile."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from .life import UNFINISHED
from .likeness import Ids, alike
from .row import TraceRow

GIVEN_UP = frozenset({"withdrawn", "cancelled"})
"""Outcomes of a message whose sender did not wait for the end."""


@dataclass(slots=True)
class Call:
    """Something the actor sent: `row` is what it sent then, `now` what it sends now, or None."""

    row: TraceRow | None
    path: str
    message_type: str
    now: str | None = None

    @property
    def name(self) -> str:
        """What is sent to whom."""
        return f"{self.message_type} to {self.path}"


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the actor goes another way: in this message, then so, now so."""

    row: TraceRow
    recorded: str
    now: str


@dataclass(slots=True)
class Step:
    """A message of the record. `outcome` and `answer` are those of now, `calls` of both times."""

    row: TraceRow
    calls: list[Call] = field(default_factory=list[Call])
    crash: str = ""
    outcome: str = ""
    answer: str = ""

    @property
    def then(self) -> str:
        """What it came to then."""
        return _said(self.row.outcome, self.row.detail or self.crash)

    @property
    def now(self) -> str:
        """What it comes to now."""
        return _said(self.outcome, self.answer)

    def differences(self, ids: Ids, *, whole: bool) -> Iterator[Difference]:
        """Where now is not as then; only if it is `whole`, what is not there counts, too."""
        took_s = self.row.handling_us / 1e6
        for call in self.calls:
            then = call.row.message if call.row is not None else None
            if then is not None and call.now is not None:
                if not alike(then, call.now, ids, took_s):
                    told = f"{call.name} {ids.as_then(call.now)}"
                    yield Difference(self.row, f"{call.name} {then}", told)
            elif whole:
                missing = f"sends no {call.name}"
                there = f"{call.name} {then if then is not None else call.now}".rstrip()
                pair = (there, missing) if then is not None else (missing, there)
                yield Difference(self.row, *pair)
        if whole and not alike(self.then, self.now, ids, took_s):
            yield Difference(self.row, self.then, ids.as_then(self.now))


@dataclass(slots=True)
class Replay:
    """What came of it: the steps up to the last that was asked for, or to where it stopped.

    `stopped` is the message from which on nothing is known, and `why`. `kept` are those that were
    fed as the trace has them, though cut or redacted. `lost` observations are missing.
    """

    path: str
    incarnation: int
    steps: Sequence[Step]
    ids: Ids
    at: str | None = None
    difference: Difference | None = None
    stopped: TraceRow | None = None
    why: str = ""
    kept: list[tuple[TraceRow, str]] = field(default_factory=list[tuple[TraceRow, str]])
    lost: int = 0

    @property
    def target(self) -> Step | None:
        """The step that was asked for."""
        return next((one for one in self.steps if one.row.span_id == self.at), None)


def _said(outcome: str, answer: str) -> str:
    """What a message came to, in words that compare."""
    if outcome in GIVEN_UP:
        return "its sender gave up"
    if not outcome:
        return "no answer"
    if outcome == UNFINISHED:
        return "not over yet"
    return f"{outcome}: {answer}" if answer else outcome
