"""One streaming model call over an SDK: opened, read to its end, or left at once."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import trio

from .conversation import Finished, Piece
from .faults import FaultMapper
from .provider import Fault, ProviderError
from .unwind import unwind

_LINGER = 0.5
"""Seconds a stream may take to end after its message is whole; its connection is then closed."""

_END = object()

SdkEvent = Any
"""An event as an SDK models it: an edge where the SDK's own types end."""


class StreamReader(Protocol):
    """Turns one provider's events into pieces; a plain state machine without I/O."""

    @property
    def whole(self) -> bool:
        """Whether the finish event came."""
        ...

    def feed(self, event: SdkEvent) -> Iterable[Piece]:
        """The pieces one event stands for."""
        ...

    def finished(self) -> Finished:
        """The whole message; called once, after the end of a stream that is `whole`."""
        ...


Explain = Callable[[Exception, Fault], ProviderError]
"""Turns any exception of an SDK into a ProviderError; the fault is for what it cannot place."""


@asynccontextmanager
async def opened(
    start: Callable[[], Awaitable[AsyncIterator[SdkEvent]]],
    reader: StreamReader,
    faults: FaultMapper,
    explain: Explain,
) -> AsyncGenerator[AsyncIterator[Piece]]:
    """Send the request and yield its pieces; on leaving, the connection closes at once."""
    try:
        events = aiter(await start())
    except Exception as error:
        raise explain(error, Fault.REJECTED) from None
    pieces = _pieces(events, reader, faults, explain)
    try:
        yield pieces
    finally:
        await pieces.aclose()
        await unwind(events)


async def _pieces(
    events: AsyncIterator[SdkEvent], reader: StreamReader, faults: FaultMapper, explain: Explain
) -> AsyncGenerator[Piece]:
    """The pieces, then Finished. What fails before the first event is the request's own fault."""
    otherwise = Fault.REJECTED
    while (event := await _next(events, reader, explain, otherwise)) is not _END:
        otherwise = Fault.CUT
        for piece in _fed(reader, event, explain):
            yield piece
    if not reader.whole:
        raise faults.error(Fault.CUT, "the stream ended before the answer did")
    yield reader.finished()


async def _next(
    stream: AsyncIterator[SdkEvent], reader: StreamReader, explain: Explain, otherwise: Fault
) -> SdkEvent:
    """The next event, or `_END`. Once the message is whole nothing that follows can hurt it."""
    if not reader.whole:
        try:
            return await anext(stream, _END)
        except Exception as error:
            raise explain(error, otherwise) from None
    with trio.move_on_after(_LINGER), suppress(Exception):
        return await anext(stream, _END)
    return _END


def _fed(reader: StreamReader, event: SdkEvent, explain: Explain) -> Iterable[Piece]:
    try:
        return list(reader.feed(event))
    except Exception as error:
        raise explain(error, Fault.CUT) from None
