"""One streaming model call over an SDK: opened, read to its end, or left at once."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol, TypeAlias

import trio

from .conversation import Finished, Piece
from .faults import FaultMapper
from .provider import Fault, ProviderError
from .unwind import unwind

_LINGER = 0.5
"""Seconds a stream may take to end after its message is whole; its connection is then closed."""

_END = object()

WireEvent = Any
"""An event of a provider's stream; only the provider's reader knows its type."""

Batches: TypeAlias = AsyncIterator[Sequence[WireEvent]]
"""The events of a stream, as many at a time as came at a time."""


class StreamReader(Protocol):
    """Turns one provider's events into pieces; a plain state machine without I/O."""

    @property
    def whole(self) -> bool:
        """Whether the finish event came."""
        ...

    def feed(self, event: WireEvent) -> Iterable[Piece]:
        """The pieces one event stands for."""
        ...

    def finished(self) -> Finished:
        """The whole message; called once, after the end of a stream that is `whole`."""
        ...


Explain = Callable[[Exception, Fault], ProviderError]
"""Turns any exception of an SDK into a ProviderError; the fault is for what it cannot place."""


@asynccontextmanager
async def opened(
    batches: Batches,
    reader: StreamReader,
    faults: FaultMapper,
    explain: Explain,
) -> AsyncGenerator[AsyncIterator[Piece]]:
    """The pieces of a call, which is sent with the first read; leaving closes its connection."""
    pieces = _pieces(batches, reader, faults, explain)
    try:
        yield pieces
    finally:
        await pieces.aclose()
        await unwind(batches)


async def _pieces(
    batches: Batches, reader: StreamReader, faults: FaultMapper, explain: Explain
) -> AsyncGenerator[Piece]:
    """The pieces, then Finished. What fails before the first event is the request's own fault."""
    otherwise = Fault.REJECTED
    while (batch := await _next(batches, reader, explain, otherwise)) is not _END:
        otherwise = Fault.CUT
        for piece in _fed(reader, batch, explain):
            yield piece
    if not reader.whole:
        raise faults.error(Fault.CUT, "the stream ended before the answer did")
    yield reader.finished()


async def _next(batches: Batches, reader: StreamReader, explain: Explain, otherwise: Fault) -> Any:
    """The next batch, or `_END`. Once the message is whole nothing that follows can hurt it."""
    if not reader.whole:
        try:
            return await anext(batches, _END)
        except Exception as error:
            raise explain(error, otherwise) from None
    with trio.move_on_after(_LINGER), suppress(Exception):
        return await anext(batches, _END)
    return _END


def _fed(reader: StreamReader, batch: Sequence[WireEvent], explain: Explain) -> Iterable[Piece]:
    """The pieces of a batch, up to what cannot be read."""
    feed = reader.feed
    for event in batch:
        try:
            pieces = feed(event)
            yield from pieces
        except Exception as error:
            raise explain(error, Fault.CUT) from None
