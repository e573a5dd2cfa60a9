"""A test double of the trace port."""

from collections.abc import AsyncGenerator, Callable

from september.actors import Snapshot
from september.errors import SeptemberError
from september.http.trace_bridge import PolledStream
from september.http.trace_port import ActorList, TraceDetail, TracePage
from september.traces.causes import Causes, Why
from september.traces.outline import outline
from september.traces.row import Losses, TraceFilter, TraceRow, TraceSummary

ROW = TraceRow(kind="span", at=1, trace_id="ab" * 16, span_id="cd" * 8, path="POST /execute")
ENGINE = Snapshot("engine", "running", 1, 0, 5, 0, 1, 256, "", None, ())


class FakeTraces:
    """Knows one trace of one row."""

    def __init__(self, asked: Callable[[object], None]) -> None:
        self._asked = asked

    async def page(self, wanted: TraceFilter) -> TracePage:
        self._asked(wanted)
        summary = TraceSummary(
            trace_id=ROW.trace_id,
            name=ROW.name,
            started_at=1,
            duration_us=2,
            spans=1,
            failures=0,
            slowest_us=2,
        )
        return TracePage(traces=(summary,), losses=Losses())

    async def trace(self, trace_id: str) -> TraceDetail:
        if trace_id != ROW.trace_id:
            raise SeptemberError("NOT_FOUND", f"no trace {trace_id!r}")
        return TraceDetail(trace_id=trace_id, lines=outline([ROW]))

    async def why(self, target: str) -> Why:
        self._asked(target)
        return Causes([ROW]).explain(ROW)

    def actors(self) -> ActorList:
        return ActorList(actors=(ENGINE,))

    async def follow(self, after: int | None) -> PolledStream:
        self._asked(after)

        async def rows() -> AsyncGenerator[bytes]:
            yield b"id: 1\nevent: rows\ndata: {}\n\n"

        return PolledStream(rows)

    async def watch(self, every_s: float) -> PolledStream:
        self._asked(every_s)

        async def looks() -> AsyncGenerator[bytes]:
            yield b"event: actors\ndata: {}\n\n"

        return PolledStream(looks)
