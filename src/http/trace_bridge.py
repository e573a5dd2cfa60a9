"""The trace port's other side: a service's traces and actors, as the routes see them."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Final, Self

import msgspec
import trio

from ..actors import ActorError, ActorRef, Snapshot, Tree, span_scope
from ..errors import SeptemberError
from ..traces.causes import Why
from ..traces.keeper import Flush, KeeperMessage
from ..traces.outline import outline
from ..traces.reader import TraceReader
from ..traces.recorder import SILENT
from ..traces.row import Losses, TraceFilter
from .trace_port import ActorList, ActorRate, TraceDetail, TracePage

POLL_S: Final = 0.4
"""How often a follower looks for new rows; they are written four times a second."""

QUIET_S: Final = 15.0
"""Silence after which a comment keeps proxies from closing the stream."""

_FLUSH_S: Final = 2.0


class TraceBridge:
    """Implements `TracePort` for a running tree whose `keeper` writes what `reader` reads."""

    def __init__(self, tree: Tree, keeper: ActorRef[KeeperMessage], reader: TraceReader) -> None:
        self._tree = tree
        self._keeper = keeper
        self._reader = reader
        self._seen: dict[str, int] = {}
        self._seen_at = time.monotonic()

    async def page(self, wanted: TraceFilter) -> TracePage:
        """A page of traces, up to this moment."""
        losses = await self._flush()
        found = await self._reader.page(wanted)
        return TracePage(traces=found, losses=losses)

    async def trace(self, trace_id: str) -> TraceDetail:
        """One trace, up to this moment."""
        await self._flush()
        rows = await self._reader.trace(trace_id)
        if not rows:
            raise SeptemberError(
                "NOT_FOUND",
                f"no trace {trace_id[:80]!r} is kept; GET /traces lists those that are",
                {"trace_id": trace_id[:200]},
            )
        return TraceDetail(trace_id=trace_id, lines=outline(rows))

    async def why(self, target: str) -> Why:
        """An explanation, from all that was recorded up to this moment."""
        await self._flush()
        return await self._reader.why(target)

    def actors(self) -> ActorList:
        """Every actor now, and how busy it was since the look before."""
        now, snapshots = time.monotonic(), _as_a_tree(self._tree.snapshot())
        passed = max(now - self._seen_at, 1e-3)
        rates = [
            ActorRate(path=one.path, per_second=round(handled / passed, 2))
            for one in snapshots
            if (handled := one.handled - self._seen.get(one.path, one.handled)) > 0
        ]
        self._seen = {one.path: one.handled for one in snapshots}
        self._seen_at = now
        return ActorList(actors=snapshots, rates=rates)

    async def follow(self, after: int | None) -> "PolledStream":
        """New rows as they are stored; frame ids are those of the rows."""

        async def chunks() -> AsyncGenerator[bytes]:
            last = -1 if after is None else after
            while True:
                with span_scope(SILENT):
                    last, rows = await self._reader.since(last)
                body = b"".join(b"data: %b\n" % msgspec.json.encode(row) for row in rows)
                yield b"id: %d\nevent: rows\n%b\n" % (last, body) if rows else b""
                await trio.sleep(POLL_S)

        return PolledStream(chunks)

    async def watch(self, every_s: float) -> "PolledStream":
        """The actors, every so many seconds."""

        async def chunks() -> AsyncGenerator[bytes]:
            while True:
                yield b"event: actors\ndata: %b\n\n" % msgspec.json.encode(self.actors())
                await trio.sleep(every_s)

        return PolledStream(chunks)

    async def _flush(self) -> Losses:
        """Have what was observed so far written; a keeper that cannot does not hold up a reader."""
        try:
            return await self._keeper.call(Flush(), timeout=_FLUSH_S)
        except ActorError:
            return Losses()


def _as_a_tree(snapshots: Sequence[Snapshot]) -> list[Snapshot]:
    """Each one right below its supervisor, where it may have come long after its siblings did."""
    born = {one.path: place for place, one in enumerate(snapshots)}

    def line(one: Snapshot) -> list[int]:
        names = one.path.split("/")
        above = ("/".join(names[:depth]) for depth in range(1, len(names) + 1))
        return [born.get(path, 0) for path in above]

    return sorted(snapshots, key=line)


class PolledStream:
    """The port's `Stream` over a generator of frames; an empty one is nothing to tell."""

    task_id: str | None = None
    turn_id: str | None = None

    def __init__(self, chunks: Callable[[], AsyncGenerator[bytes]]) -> None:
        self._polled = chunks()
        self._chunks = _kept_alive(self._polled)

    @property
    def chunks(self) -> AsyncIterator[bytes]:
        """The frames."""
        return self._chunks

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._chunks.aclose()
        await self._polled.aclose()


async def _kept_alive(polled: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    yield b": following\n\n"
    told_at = trio.current_time()
    async with aclosing(polled):
        async for chunk in polled:
            now = trio.current_time()
            if chunk or now > told_at + QUIET_S:
                told_at = now
                yield chunk or b": quiet\n\n"
