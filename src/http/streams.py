"""An Engine's events as HTTP streams them: batches of frames, joined into chunks."""

from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final, Self

from ..brain.channels.frame import Frame
from ..brain.channels.replay import Following

CHUNK: Final = 2**16
"""Bytes after which a chunk is full: what one client that does not read costs."""


class EventStream:
    """The port's `Stream` over a follower of the event log."""

    def __init__(self, following: Following, task_id: str | None, turn_id: str | None) -> None:
        self._following = following
        self._task_id = task_id
        self._turn_id = turn_id
        self._batch: deque[Frame] = deque()

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
        """Whole frames, as many as were logged together and fit a chunk."""
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._batch:
            self._batch.extend(await self._following.__anext__())
        parts: list[bytes] = []
        size = 0
        while self._batch and size < CHUNK:
            parts.append(self._batch.popleft().wire)
            size += len(parts[-1])
        return b"".join(parts)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._following.__exit__(kind, error, traceback)
