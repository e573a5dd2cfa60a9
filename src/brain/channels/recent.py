"""The newest frames, kept in memory so that whoever follows closely needs no read."""

from collections import deque

from .frame import Frame


class RecentFrames:
    """The last `most` frames at most, and not many more than `most_bytes` of them.

    A frame is a few bytes of text or the whole output of a tool, so neither bound is enough.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._frames: deque[Frame] = deque()
        self._bytes = 0

    def extend(self, frames: tuple[Frame, ...]) -> None:
        """Add the newest; the oldest make room."""
        self._frames.extend(frames)
        self._bytes += sum(len(frame.wire) for frame in frames)
        while len(self._frames) > self._most or self._bytes > self._most_bytes:
            self._bytes -= len(self._frames.popleft().wire)

    def oldest(self) -> int | None:
        """The id of the oldest frame that is kept; None when none is."""
        return self._frames[0].id if self._frames else None

    def after(self, event_id: int, task_id: str | None) -> tuple[Frame, ...]:
        """The kept frames with higher ids, of one task or of all (None)."""
        return tuple(
            frame
            for frame in self._frames
            if frame.id > event_id and (task_id is None or frame.task_id == task_id)
        )
