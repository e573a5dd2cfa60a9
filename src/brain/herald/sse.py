"""Server-sent events before an SDK sees them: whole, and with failures raised from within.

An SDK that raises at an error event, or stops at `[DONE]`, leaves its nested generators open on
the socket for the garbage collector to find. What the byte stream itself raises unwinds them
all, so the error event is recognised here, `[DONE]` is taken out, and an event that the end of
the stream cut in half is not passed on.
"""

import re
from collections.abc import AsyncGenerator
from typing import cast

import httpx2
import msgspec

from ..channels.events import JsonObject
from .unwind import unwind

_EVENT_END = re.compile(rb"(?:\r\n|\n|\r(?=[^\n])){2}")
"""A blank line; a `\\r` at the very end of what is there may yet become `\\r\\n`."""
_AT_END = b"\n"
"""What the last event may lack of its blank line."""

_DATA = re.compile(rb"(?:^|[\r\n])data: ?([^\r\n]*)")


class StreamFault(Exception):
    """An error event in a stream that had begun well; `error` is the provider's own object.

    Some compatible servers send a mere text: it is then the object's `message`.
    """

    def __init__(self, error: JsonObject) -> None:
        super().__init__(f"the stream held an error: {error}")
        self.error = error

    def text(self, name: str) -> str:
        """A field of the error as text; empty when it is not there."""
        value = self.error.get(name)
        return "" if value is None else str(value)


def payloads(chunk: bytes) -> list[bytes]:
    """The data of some whole events, as a guarded response gives them; none of an empty one."""
    events = _EVENT_END.split(chunk) if b"\r" in chunk else chunk.split(b"\n\n")
    return [data for event in events if (data := b"\n".join(_DATA.findall(event)))]


async def guard(response: httpx2.Response) -> None:
    """An httpx2 response hook: guards the body of an event stream."""
    content_type = response.headers.get("content-type", "")
    if response.is_success and content_type.lower().startswith("text/event-stream"):
        response.stream = GuardedEvents(cast("httpx2.AsyncByteStream", response.stream))


class GuardedEvents(httpx2.AsyncByteStream):
    """The bytes of an event stream in whole events; raises StreamFault at an error event."""

    def __init__(self, source: httpx2.AsyncByteStream) -> None:
        self._source = source

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        chunks = aiter(self._source)
        buffer = b""
        while True:
            chunk = await anext(chunks, None)
            buffer += _AT_END if chunk is None else chunk
            if _harmless(buffer):
                yield buffer
                buffer = b""
                continue
            events, buffer = _split(buffer)
            passed, fault = _passed(events)
            if passed:
                yield passed
            if fault is not None:
                await unwind(chunks)
                raise fault
            if chunk is None:
                return

    async def aclose(self) -> None:
        """Close the connection, or give it back when the body was read to its end."""
        await self._source.aclose()


def _harmless(buffer: bytes) -> bool:
    """Whether these are whole events, none of which can be an error or the end mark."""
    marked = b"\r" in buffer or b'"error"' in buffer or b"[DONE]" in buffer
    return buffer.endswith(b"\n\n") and not marked


def _split(buffer: bytes) -> tuple[list[bytes], bytes]:
    """The whole events at the head of `buffer`, and the rest."""
    events: list[bytes] = []
    start = 0
    for end in _EVENT_END.finditer(buffer):
        events.append(buffer[start : end.end()])
        start = end.end()
    return events, buffer[start:]


def _passed(events: list[bytes]) -> tuple[bytes, StreamFault | None]:
    """What the SDK may see of some events, and the fault that ends them, if there is one."""
    passed: list[bytes] = []
    for event in events:
        fault = _fault(event)
        if fault is not None:
            return b"".join(passed), fault
        if not _is_done(event):
            passed.append(event)
    return b"".join(passed), None


def _is_done(event: bytes) -> bool:
    data = _DATA.search(event) if b"[DONE]" in event else None
    return data is not None and data[1].strip() == b"[DONE]"


def _fault(event: bytes) -> StreamFault | None:
    """The error of an event whose data has one at its top; cheap for all that have none."""
    if b'"error"' not in event:
        return None
    try:
        data: object = msgspec.json.decode(b"\n".join(_DATA.findall(event)))
    except msgspec.DecodeError:
        return None
    error = cast("JsonObject", data).get("error") if isinstance(data, dict) else None
    if not error:
        return None
    return StreamFault(cast("JsonObject", error) if isinstance(error, dict) else {"message": error})
