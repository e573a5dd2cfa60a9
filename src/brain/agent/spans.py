"""What the spans of a turn carry, under the names that OpenTelemetry gives them.

https://opentelemetry.io/docs/specs/semconv/gen-ai/: `invoke_agent`, `chat`, `execute_tool`.
"""

from dataclasses import dataclass, field
from typing import Final

import trio
from msgspec import Struct

from ..herald.conversation import TextPiece, ThinkingPiece
from ..herald.model_stream import Completed, ModelPiece
from .job import Job

PIECES_KEPT: Final = 400
"""Pieces of one answer whose times are kept; a longer answer is kept coarser."""


class TurnSpan(Struct):
    """A turn, from its seat to its last event."""

    task_id: str
    turn_id: str
    agent: str
    resumed: bool = False

    @classmethod
    def of(cls, job: Job) -> "TurnSpan":
        """The span of this job."""
        return cls(job.task_id, job.turn_id, job.agent.name, job.resumed)


@dataclass(slots=True)
class ChatSpan:
    """One model call. Times are milliseconds since it began; filled in while it streams.

    `pieces` are the times at which text or thinking came: the token timeline.
    """

    task_id: str
    turn_id: str
    provider: str = ""
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_hit_tokens: int = 0
    stop_reason: str = ""
    attempts: int = 1
    cost_usd: float | None = None
    cache_hit_alert: bool = False
    first_piece_ms: float | None = None
    streamed_ms: float = 0.0
    pieces: list[float] = field(default_factory=list[float])
    _began: float = field(default_factory=trio.current_time, repr=False)
    _count: int = field(default=0, repr=False)

    def piece(self, piece: ModelPiece) -> None:
        """Note a piece of the answer."""
        match piece:
            case TextPiece() | ThinkingPiece():
                self._note_time()
            case Completed():
                self._note_end(piece)
            case _:
                pass

    def _note_time(self) -> None:
        stride = 1 + self._count // PIECES_KEPT
        if self._count % stride == 0 and len(self.pieces) < 2 * PIECES_KEPT:
            self.streamed_ms = self._now_ms()
            self.pieces.append(self.streamed_ms)
            self.first_piece_ms = self.pieces[0]
        self._count += 1

    def _now_ms(self) -> float:
        return round((trio.current_time() - self._began) * 1000, 2)

    def _note_end(self, end: Completed) -> None:
        self.streamed_ms = self._now_ms()
        self.provider, self.model = end.provider, end.model
        self.input_tokens, self.output_tokens = end.usage.input_tokens, end.usage.output_tokens
        self.cache_hit_tokens = end.usage.cache_hit_tokens
        self.stop_reason = str(end.stop_reason)
        self.attempts = 1 + len(end.attempts)
        self.cost_usd = end.cost_usd
        self.cache_hit_alert = end.cache_alert is not None


class ToolSpan(Struct, frozen=True):
    """One tool call, from its turn among the others to its answer."""

    task_id: str
    turn_id: str
    tool_call_id: str
    tool: str
    input: object


class GateSpan(Struct, frozen=True):
    """A call that is not simply free: the rule it falls under, and what it would do."""

    task_id: str
    turn_id: str
    tool_call_id: str
    tool: str
    concern: str
    reason: str


class WaitSpan(Struct, frozen=True):
    """A wait for a person."""

    task_id: str
    turn_id: str
    kind: str
    question: str
