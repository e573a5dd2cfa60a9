"""The one place where everything that happens between actors is observed.

Hot paths hand over the object they already have; a `Record` is made only when somebody reads.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from math import inf
from time import perf_counter
from typing import Final, Protocol, TypeAlias, final

from msgspec import Struct

from .span import Scope, span_scope


class Kind(Enum):
    """What was observed."""

    SPAWN = "spawn"
    MESSAGE = "message"
    SPAN = "span"  # work that is no message: see `Trace.span`
    CRASH = "crash"
    RESTART = "restart"
    GAVE_UP = "gave_up"
    STOP = "stop"
    DEAD_LETTER = "dead_letter"
    DEADLINE = "deadline"
    DEADLOCK = "deadlock"


class Record(Struct, frozen=True):
    """One observation. Ids are lower-case hex; `parent_id` is empty at the root of a trace.

    For a supervision event the parent is its cause: message -> crash -> restart -> spawn.
    `at` is in seconds on the trace's clock; `message` is the message itself, to be rendered
    (and redacted) by whoever shows it.
    """

    kind: Kind
    at: float
    trace_id: str
    span_id: str
    parent_id: str
    path: str
    incarnation: int
    message_type: str
    message: object
    wait_us: float
    handling_us: float
    outcome: str
    detail: str
    answer: object = None
    """Of a message to an actor that is `replayable`: what it was answered."""


class Traced(Protocol):
    """Something observed, from which a `Record` can be made later."""

    def record(self) -> Record: ...


class Handled(Traced, Protocol):
    """A message, whose span the trace closes."""

    ended_at: float
    outcome: str


Sink: TypeAlias = Callable[[Traced], None]
"""Told of each observation as it happens; must be quick. One that raises is detached."""

Gatherer: TypeAlias = Callable[[Sequence[Traced]], None]
"""Given messages some at a time; must be quick and must not raise."""

_GATHERED: Final = 64
"""Messages that are handed on together, at most."""

_log: Final = logging.getLogger(__name__)


def span_hex(span_id: int) -> str:
    """Write a span id the way W3C does; no span is the empty string."""
    return "%016x" % span_id if span_id else ""  # noqa: UP031  # twice as fast as an f-string


@final
class Event:
    """An observation that is not a message: a decision of a supervisor, a loss, a refusal."""

    __slots__ = (
        "at",
        "detail",
        "incarnation",
        "kind",
        "message",
        "parent_id",
        "path",
        "span_id",
        "trace_id",
    )

    def __init__(self, kind: Kind, path: str, incarnation: int, span: Scope, at: float) -> None:
        self.kind = kind
        self.path = path
        self.incarnation = incarnation
        self.at = at
        self.span_id = span.span_id
        self.parent_id = span.parent_id
        self.trace_id = span.trace_id
        self.message: object = None
        self.detail = ""

    def record(self) -> Record:
        """Make the readable form."""
        return Record(
            kind=self.kind,
            at=self.at,
            trace_id=f"{self.trace_id:032x}",
            span_id=span_hex(self.span_id),
            parent_id=span_hex(self.parent_id),
            path=self.path,
            incarnation=self.incarnation,
            message_type="" if self.message is None else type(self.message).__name__,
            message=self.message,
            wait_us=0.0,
            handling_us=0.0,
            outcome=self.kind.value,
            detail=self.detail,
        )


@final
class Span:
    """Work that is no message, such as a request or a call of a model; `outcome` starts as ok."""

    __slots__ = ("at", "detail", "ended_at", "name", "outcome", "payload", "scope")

    def __init__(self, name: str, payload: object, scope: Scope, at: float) -> None:
        self.name = name
        self.payload = payload
        self.scope = scope
        self.at = self.ended_at = at
        self.outcome = "ok"
        self.detail = ""

    def record(self) -> Record:
        """Make the readable form."""
        return Record(
            kind=Kind.SPAN,
            at=self.at,
            trace_id=f"{self.scope.trace_id:032x}",
            span_id=span_hex(self.scope.span_id),
            parent_id=span_hex(self.scope.parent_id),
            path=self.name,
            incarnation=0,
            message_type="" if self.payload is None else type(self.payload).__name__,
            message=self.payload,
            wait_us=0.0,
            handling_us=(self.ended_at - self.at) * 1e6,
            outcome=self.outcome,
            detail=self.detail,
        )


class Trace:
    """Keeps the last `keep` observations in memory, counts all, and tells the sinks.

    `clock` is in seconds; simulations pass `trio.current_time`.
    """

    def __init__(
        self,
        keep: int = 256,
        *,
        sinks: tuple[Sink, ...] = (),
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self.clock = clock
        self._fresh: list[Traced] = []
        self._most_fresh = 1 if sinks else _GATHERED
        self._ring: deque[Traced] = deque(maxlen=keep)
        self._sinks = sinks
        self._rare_sinks: tuple[Sink, ...] = ()
        self._gatherers: tuple[Gatherer, ...] = ()
        self._counts: Counter[Kind] = Counter()

    def handled(self, message: Handled, outcome: str) -> None:
        """Observe a message whose handling ends now."""
        # Every message pays for each line here; what can be done for many at once is in `hand_on`.
        clock = self.clock  # a name: `self.clock()` would look for a method first
        message.ended_at = clock()
        message.outcome = outcome
        fresh = self._fresh
        fresh.append(message)
        if len(fresh) >= self._most_fresh:
            self.hand_on()

    def hand_on(self) -> None:
        """Give the messages observed since the last time to whoever collects them."""
        fresh = self._fresh
        if not fresh:
            return
        self._fresh = []
        self._most_fresh = 1 if self._sinks else _GATHERED
        self._counts[Kind.MESSAGE] += len(fresh)
        self._ring.extend(fresh)
        for gatherer in self._gatherers:
            gatherer(fresh)
        for message in fresh if self._sinks else ():
            self._tell(message, self._sinks)

    def hurry(self) -> None:
        """Hand on the next message at once: somebody waits for it."""
        self._most_fresh = 1

    def event(
        self,
        kind: Kind,
        path: str,
        incarnation: int = 0,
        *,
        cause: Scope | Event | None = None,
        lost: Scope | None = None,
        message: object = None,
        detail: str = "",
    ) -> Event:
        """Observe anything else; returns the event so that its consequences can name it.

        `lost` is the span of a message that will never be handled: the event takes its place.
        """
        event = Event(kind, path, incarnation, lost or _child_of(cause), self.clock())
        event.message = message
        event.detail = detail
        self._rare(event, kind)
        return event

    @contextmanager
    def span(
        self,
        name: str,
        payload: object = None,
        *,
        traceparent: str | None = None,
        deadline: float = inf,
    ) -> Generator[Span]:
        """Observe the work of the body as one span, as `span_scope` does, and record it.

        An exception becomes the outcome, unless the body has set one, and goes on its way;
        cancellation does, too.
        """
        with span_scope(traceparent, deadline=deadline) as scope:
            span = Span(name, payload, scope, self.clock())
            try:
                yield span
            except BaseException as error:
                if span.outcome == "ok":
                    span.outcome = type(error).__name__
                raise
            finally:
                span.ended_at = self.clock()
                self._rare(span, Kind.SPAN)

    def attach(self, sink: Sink, *, messages: bool = True) -> None:
        """Tell `sink` of every observation from now on, or of all that are no messages."""
        self.hand_on()
        if messages:
            self._sinks = (*self._sinks, sink)
            self._most_fresh = 1
        else:
            self._rare_sinks = (*self._rare_sinks, sink)

    def gather(self, gatherer: Gatherer) -> None:
        """Give `gatherer` all messages from now on, some at a time."""
        self.hand_on()
        self._gatherers = (*self._gatherers, gatherer)

    def detach(self, sink: Sink) -> None:
        """Stop telling `sink`."""
        self._sinks = tuple(one for one in self._sinks if one is not sink)
        self._rare_sinks = tuple(one for one in self._rare_sinks if one is not sink)

    def recent(self) -> list[Record]:
        """Return what the ring still holds, oldest first."""
        self.hand_on()
        return [traced.record() for traced in self._ring]

    @property
    def counts(self) -> Mapping[Kind, int]:
        """How many of each kind were observed since the start."""
        self.hand_on()
        return {kind: self._counts[kind] for kind in Kind}

    def _rare(self, traced: Traced, kind: Kind) -> None:
        self.hand_on()
        self._counts[kind] += 1
        self._ring.append(traced)
        self._tell(traced, (*self._sinks, *self._rare_sinks))

    def _tell(self, traced: Traced, sinks: tuple[Sink, ...]) -> None:
        for sink in sinks:
            try:
                sink(traced)
            except Exception:
                self.detach(sink)
                _log.exception("a trace sink failed and was detached")


def _child_of(cause: Scope | Event | None) -> Scope:
    child = Scope(None, inf)
    if cause is not None:
        child.trace_id, child.parent_id = cause.trace_id, cause.span_id
    return child
