"""What src/fleet/store uses of trio-asyncio, which has no types of its own. For the checkers."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

def open_loop() -> AbstractAsyncContextManager[object]: ...
def aio_as_trio(proc: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]: ...
