"""The one shape that everything between the server and the routes has."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

AsgiApp: TypeAlias = Callable[[Scope, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]
