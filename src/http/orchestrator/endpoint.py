"""An endpoint of the orchestrator: what a route takes, answers and refuses."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeAlias, TypeVar

from msgspec import Struct

from ...fleet.discovery import Seen
from ...fleet.instances import Product
from ..endpoint import Events, Json, Page, Route, TraceEndpoint
from ..endpoint import Text as Text
from ..trace_port import TracePort
from ..visit import Visit
from ..wire import Input
from .desk import Desk
from .door import CALLER

InputT = TypeVar("InputT", bound=Input)


class Exchange(Struct, Generic[InputT], frozen=True):
    """One request on its way through a route."""

    desk: Desk
    input: InputT
    path: Mapping[str, str]
    visit: Visit

    @property
    def product(self) -> Product:
        """Who calls; only where a platform key is asked for."""
        return CALLER.get().product

    @property
    def seen(self) -> Seen | None:
        """The Engine that was looked up with the key; only in an admit."""
        return CALLER.get().seen

    @property
    def traces(self) -> TracePort:
        """The traces of the orchestrator itself."""
        return self.desk.traces

    @property
    def user_id(self) -> str:
        """The user that the path names."""
        return self.path["user_id"]


Answer: TypeAlias = Json | Page | Text | Events


class Endpoint(Route[InputT], Struct, frozen=True):
    """A route of the orchestrator's. A body that is `optional_body` may be left out."""

    handler: Callable[[Exchange[InputT]], Awaitable[Answer]]
    optional_body: bool = False


AnyEndpoint: TypeAlias = Endpoint[Any] | TraceEndpoint[Any]
"""An endpoint of whatever input; the router pairs each with its own."""
