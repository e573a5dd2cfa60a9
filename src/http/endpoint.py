"""An endpoint: what a route takes, answers and refuses; routing and OpenAPI read the same table."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar

import trio
from msgspec import Struct, field

from .auth import KeyRing
from .port import EnginePort, Stream
from .trace_port import TracePort
from .visit import Visit
from .wire import Input

InputT = TypeVar("InputT", bound=Input)
InputT_co = TypeVar("InputT_co", bound=Input, covariant=True)

Opener: TypeAlias = Callable[[], Awaitable[Stream]]
"""Opens a stream; a refusal is raised before there is anything to send."""


class Nothing(Input, frozen=True, kw_only=True):
    """No fields at all."""


class HttpSettings(Struct, frozen=True):
    """What the HTTP side is told by the configuration. Times are seconds."""

    cors_origins: tuple[str, ...] = ()
    max_body_bytes: int = 2**20
    media_max_body_bytes: int = 2**25
    import_max_body_bytes: int = 2**28
    min_overlap_seconds: float = 0
    max_overlap_seconds: float = 300


class Service(Struct, frozen=True):
    """What all routes work on. `rotating` lets one key rotation at a time through."""

    engine: EnginePort
    keys: KeyRing
    settings: HttpSettings = field(default_factory=HttpSettings)
    rotating: trio.Lock = field(default_factory=trio.Lock)


class Exchange(Struct, Generic[InputT], frozen=True):
    """One request on its way through a route."""

    service: Service
    input: InputT
    path: Mapping[str, str]
    visit: Visit

    @property
    def engine(self) -> EnginePort:
        """The Engine that is asked."""
        return self.service.engine

    @property
    def traces(self) -> TracePort:
        """The traces of the Engine that is asked."""
        return self.service.engine.traces


class Json(Struct, frozen=True):
    """An answer as JSON."""

    value: object
    status: int = 200


class Events(Struct, frozen=True):
    """An answer as a stream of events, opened when the response begins."""

    opener: Opener


class Page(Struct, frozen=True):
    """An answer as a page for people."""

    html: str


class Text(Struct, frozen=True):
    """An answer as text of another kind."""

    text: str
    content_type: str


Answer: TypeAlias = Json | Events | Page | Text


class TraceExchange(Protocol[InputT_co]):
    """What a route that every service has may ask of an exchange."""

    @property
    def input(self) -> InputT_co: ...
    @property
    def path(self) -> Mapping[str, str]: ...
    @property
    def visit(self) -> Visit: ...
    @property
    def traces(self) -> TracePort: ...


class Route(Struct, Generic[InputT], frozen=True):
    """What is said of any route; its kinds say what their handlers are given and answer.

    `path` has its parameters in braces; `answers` is the type of a JSON answer.

    `refusals` are the error codes of its own, beside those that any request may meet. `sample`
    is an input for the documentation.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    summary: str
    handler: Callable[[Any], Awaitable[Any]]
    takes: type[InputT]
    answers: object = None
    refusals: tuple[str, ...] = ()
    headers: Mapping[str, str] | None = None
    sample: Mapping[str, object] | None = None
    streams: bool = False

    @property
    def has_body(self) -> bool:
        """Whether the input comes as a JSON body rather than in the query string."""
        return self.method in ("POST", "PUT") and self.takes is not Nothing


class Endpoint(Route[InputT], Struct, frozen=True):
    """A route of the Engine's."""

    handler: Callable[[Exchange[InputT]], Awaitable[Answer]]


class TraceEndpoint(Route[InputT], Struct, frozen=True):
    """A route that the Engine and the orchestrator both have."""

    handler: Callable[[TraceExchange[InputT]], Awaitable[Json | Events | Page]]


AnyEndpoint: TypeAlias = Endpoint[Any] | TraceEndpoint[Any]
"""An endpoint of whatever input; the router pairs each with its own."""
