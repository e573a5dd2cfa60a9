"""Rows as OpenTelemetry metrics, under the names and buckets of the GenAI conventions.

https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-metrics.md
"""

from collections.abc import Sequence
from typing import Any, Final

from .export import Attributes, attributes
from .row import TraceRow

_SECONDS: Final = (
    0.01,
    0.02,
    0.04,
    0.08,
    0.16,
    0.32,
    0.64,
    1.28,
    2.56,
    5.12,
    10.24,
    20.48,
    40.96,
    81.92,
)
_FIRST_CHUNK: Final = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
)
_TOKENS: Final = tuple(4**power for power in range(14))

_TOLD: Final = (
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.agent.name",
    "gen_ai.tool.name",
    "error.type",
)
"""Attributes with few values; ids of tasks, turns and calls are left to the spans."""


class Meters:
    """The instruments of one meter provider."""

    def __init__(self, provider: Any) -> None:
        meter = provider.get_meter("september.traces")

        def histogram(name: str, unit: str, buckets: Sequence[float], text: str) -> Any:
            return meter.create_histogram(
                name, unit, text, explicit_bucket_boundaries_advisory=buckets
            )

        client = "gen_ai.client"
        self._chat = histogram(f"{client}.operation.duration", "s", _SECONDS, "One model call.")
        self._first = histogram(
            f"{client}.operation.time_to_first_chunk", "s", _FIRST_CHUNK, "Until something came."
        )
        self._tokens = histogram(f"{client}.token.usage", "{token}", _TOKENS, "Of one model call.")
        self._tool = histogram("gen_ai.execute_tool.duration", "s", _SECONDS, "One tool call.")
        self._agent = histogram("gen_ai.invoke_agent.duration", "s", _SECONDS, "One turn.")

    def count(self, rows: Sequence[TraceRow]) -> None:
        """Count what these rows tell."""
        for row in rows:
            found = attributes(row)
            operation = found.get("gen_ai.operation.name")
            if row.kind == "span" and operation is not None:
                self._count(str(operation), row, found)

    def _count(self, operation: str, row: TraceRow, found: Attributes) -> None:
        told: Attributes = {name: found[name] for name in _TOLD if name in found}
        seconds = row.handling_us / 1e6
        match operation:
            case "chat":
                self._chat.record(seconds, told)
                self._count_answer(found, told)
            case "execute_tool":
                self._tool.record(seconds, told)
            case _:
                self._agent.record(seconds, told)

    def _count_answer(self, found: Attributes, told: Attributes) -> None:
        first = found.get("gen_ai.response.time_to_first_chunk")
        if first is not None:
            self._first.record(first, told)
        for kind in ("input", "output"):
            tokens = found.get(f"gen_ai.usage.{kind}_tokens")
            if tokens:
                self._tokens.record(tokens, {**told, "gen_ai.token.type": kind})
