"""What every peer's wire provides: checks of a request, and the events of a reply."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol, TypeAlias

import msgspec
import trio

from .script import Cut, End, Fail, Pause, Reply, Say, Stall, Step, Stop, Think, Usage, Wait

Json: TypeAlias = dict[str, Any]


@dataclass(slots=True)
class Received:
    """A request as the peer got it, and what became of it.

    Times are of trio's clock. `closed_by` is "client" when the client left before the reply was
    whole, "peer" otherwise. `refused` is the reason of a 4xx that the script did not ask for.
    """

    number: int
    method: str
    path: str
    headers: Mapping[str, str]
    body: Json
    at: float
    closed: trio.Event = field(default_factory=trio.Event)
    closed_at: float = 0.0
    closed_by: str = ""
    refused: str = ""

    def close(self, by: str) -> None:
        """Note the end of the exchange; only the first note counts."""
        if not self.closed.is_set():
            self.closed_at = trio.current_time()
            self.closed_by = by
            self.closed.set()


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer that is no stream."""

    status: int
    body: Json
    headers: tuple[tuple[str, str], ...] = ()


class Refused(Exception):
    """The service would not take this request."""

    def __init__(self, answer: Answer, reason: str) -> None:
        super().__init__(reason)
        self.answer = answer
        self.reason = reason


class Writer(Protocol):
    """Writes one reply as the service's events, each a complete SSE frame."""

    def open(self) -> Iterable[bytes]:
        """What comes before any content."""
        ...

    def content(self, step: Say | Think) -> Iterable[bytes]:
        """Text or thinking, piece by piece."""
        ...

    def call(self, step: Any) -> Iterable[bytes]:
        """A tool call."""
        ...

    def close(self) -> Iterable[bytes]:
        """The finish event and what follows it."""
        ...

    def fail(self, kind: str) -> bytes:
        """An error event."""
        ...


class Wire(Protocol):
    """One provider's protocol, from the server's side."""

    name: str
    key: str

    def check(self, request: Received) -> None:
        """Raise Refused for what the real service refuses."""
        ...

    def writer(self, request: Received, reply: Reply) -> Writer:
        """A writer for one reply."""
        ...

    def refusal(self, step: Step) -> Answer:
        """The HTTP answer to a scripted refusal."""
        ...

    def malformed(self, reason: str) -> Answer:
        """The service's 400."""
        ...


Beat: TypeAlias = bytes | Pause | Wait | Cut | End | Stall
"""What the server does next: send, be silent, or end."""


def beats(writer: Writer, reply: Reply) -> Iterator[Beat]:
    """The reply as a sequence of beats; an ending step, if any, is the last one."""
    ending = next((step for step in reply if isinstance(step, Cut | End | Stall | Fail)), None)
    if ending is None:
        yield from _whole(writer, reply)
        return
    if ending.after is None:
        yield from _begun(writer, reply)
    else:
        yield from _first(ending.after, _whole(writer, reply))
    if isinstance(ending, Fail):
        yield writer.fail(ending.kind)
        yield End()
    else:
        yield ending


def _whole(writer: Writer, reply: Reply) -> Iterator[Beat]:
    yield from _begun(writer, reply)
    yield from writer.close()


def _begun(writer: Writer, reply: Reply) -> Iterator[Beat]:
    yield from writer.open()
    for step in reply:
        match step:
            case Say() | Think():
                yield from _paced(writer.content(step), step.every)
            case Pause() | Wait():
                yield step
            case Stop() | Usage() | Cut() | End() | Stall() | Fail():
                pass
            case _:
                yield from writer.call(step)


def _paced(frames: Iterable[bytes], every: float) -> Iterator[Beat]:
    for frame in frames:
        yield frame
        if every:
            yield Pause(every)


def _first(count: int, whole: Iterator[Beat]) -> Iterator[Beat]:
    """The beats up to the `count`-th event."""
    events = 0
    while events < count:
        for beat in islice(whole, 1):
            yield beat
            events += isinstance(beat, bytes)
            break
        else:
            return


def pieces(text: str, size: int) -> Iterator[str]:
    """`text` in pieces of `size` characters; one empty piece for an empty text."""
    step = max(1, size)
    for start in range(0, max(1, len(text)), step):
        yield text[start : start + step]


def sse(data: Json, event: str = "", newline: str = "\n") -> bytes:
    """One server-sent event."""
    head = f"event: {event}{newline}" if event else ""
    return f"{head}data: {msgspec.json.encode(data).decode()}{newline}{newline}".encode()


def usage_of(reply: Reply) -> Usage | None:
    """The counts a reply was given, if any."""
    return next((step for step in reply if isinstance(step, Usage)), None)


def stop_of(reply: Reply) -> str:
    """The reason a reply was given to stop for, or nothing."""
    return next((step.reason for step in reply if isinstance(step, Stop)), "")
