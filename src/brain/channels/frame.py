"""A frame: one event with its id, ready for the wire."""

from msgspec import Struct

from .events import Event, closes, encode


class Frame(Struct, frozen=True):
    """One logged event. `wire` is its whole SSE frame; `closing` says that its turn ends here."""

    id: int
    task_id: str
    turn_id: str
    wire: bytes
    closing: bool


def sse(event_id: int, name: str, data: bytes) -> bytes:
    """The SSE form of an event. JSON holds no raw newline, so `data:` is always one line."""
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event_id, name.encode(), data)


def framed(event_id: int, task_id: str, turn_id: str, event: Event) -> tuple[Frame, bytes]:
    """The frame of a new event, and its JSON data as the log stores it."""
    data = encode(event)
    wire = sse(event_id, event.type, data)
    return Frame(event_id, task_id, turn_id, wire, closes(event)), data


def stored(event_id: int, task_id: str, turn_id: str, name: str, data: str) -> Frame:
    """The frame of a row of `channel_events`: byte for byte the one first sent."""
    wire = sse(event_id, name, data.encode())
    return Frame(event_id, task_id, turn_id, wire, _closing(name, data))


def _closing(name: str, data: str) -> bool:
    # `phase` is the first field of a thread_lifecycle, so a prefix tells without parsing.
    if name == "thread_lifecycle":
        return data.startswith(('{"phase":"completed"', '{"phase":"cancelled"'))
    return name == "error"
