"""An Engine's events as HTTP streams them: batches of frames, joined into chunks."""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from ..brain.channels.replay import Following


class EventStream:
    """The port's `Stream` over a follower of the event log."""

    def __init__(self, following: Following, task_id: str | None, turn_id: str | None) -> None:
        self._following = following
        self._task_id = task_id
        self._turn_id = turn_id

    @property
    def task_id(self) -> str | None:
        """The task whose events these are; None for all."""
        return self._task_id

    @property
    def turn_id(self) -> str | None:
        """The turn whose events these are; None for a replay."""
        return self._turn_id

    @property
    def chunks(self) -> AsyncIterator[bytes]:
        """Whole frames, as many as were logged together."""
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        frames = await self._following.__anext__()
        return b"".join([frame.wire for frame in frames])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._following.__exit__(kind, error, traceback)
