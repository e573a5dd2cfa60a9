"""What a route needs of a stream of events that is on its way to a client."""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Protocol, Self


class Stream(Protocol):
    """Events of one turn or of a replay, as encoded SSE frames.

    Each item of `chunks` is one or more whole frames; it ends by itself after the last one.
    Entering subscribes the caller until it leaves; the turn itself is not touched by leaving.
    The caller may leave in the middle of `chunks`: `__aexit__` must close that too, if it is a
    generator, and must not need more than a moment when it is cancelled.
    """

    @property
    def task_id(self) -> str | None:
        """The task whose events these are; None for all tasks."""
        ...

    @property
    def turn_id(self) -> str | None:
        """The turn whose events these are; None for a replay."""
        ...

    @property
    def chunks(self) -> AsyncIterator[bytes]:
        """The frames."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None: ...
