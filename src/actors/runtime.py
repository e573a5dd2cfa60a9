"""What all actors of one tree share."""

from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context

import trio

from .span import CURRENT
from .trace import Trace


class Runtime:
    """What all cells of one tree share."""

    __slots__ = ("clock", "context", "fatal", "inline_calls", "on_fatal", "trace")

    def __init__(self, trace: Trace | None) -> None:
        self.trace = trace
        self.clock = trace.clock if trace is not None else None
        self.inline_calls = 0
        self.context: Context = copy_context()
        """What actors inherit instead of the context of whoever starts them."""
        self.context.run(CURRENT.set, None)
        self.fatal: BaseException | None = None
        self.on_fatal: Callable[[], None] = lambda: None

    def spawn(self, nursery: trio.Nursery, work: Callable[[], Awaitable[None]], name: str) -> None:
        """Start a task that inherits no context from whoever causes it."""
        self.context.run(lambda: nursery.start_soon(work, name=name))

    def fail(self, error: BaseException) -> None:
        """Bring the tree down, in order, because of what is no crash: a KeyboardInterrupt."""
        self.fatal = self.fatal or error
        self.on_fatal()
