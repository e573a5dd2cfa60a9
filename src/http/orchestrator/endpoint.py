"""An endpoint of the orchestrator: what a route takes, answers and refuses."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from ...fleet.instances import Product
from ..endpoint import Json, Nothing, Page
from ..visit import Visit
from ..wire import Input
from .desk import Desk
from .door import CALLER

InputT = TypeVar("InputT", bound=Input)


@dataclass(frozen=True, slots=True)
class Exchange(Generic[InputT]):
    """One request on its way through a route."""

    desk: Desk
    input: InputT
    path: Mapping[str, str]
    visit: Visit

    @property
    def product(self) -> Product:
        """Who calls; only where a platform key is asked for."""
        return CALLER.get()

    @property
    def user_id(self) -> str:
        """The user that the path names."""
        return self.path["user_id"]


@dataclass(frozen=True, slots=True)
class Text:
    """An answer as text of another kind."""

    text: str
    content_type: str


Answer: TypeAlias = Json | Page | Text


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[InputT]):
    """A route. `path` has its parameters in braces; `refusals` are the error codes of its own."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    summary: str
    handler: Callable[[Exchange[InputT]], Awaitable[Answer]]
    takes: type[InputT]
    answers: object = None
    refusals: tuple[str, ...] = ()
    headers: Mapping[str, str] | None = None
    sample: Mapping[str, object] | None = None
    optional_body: bool = False

    streams = False

    @property
    def has_body(self) -> bool:
        """Whether the input comes as a JSON body rather than in the query string."""
        return self.method in ("POST", "PUT") and self.takes is not Nothing


AnyEndpoint: TypeAlias = Endpoint[Any]
"""An endpoint of whatever input; the router pairs each with its own."""
