"""What a command prints, told to the client while it runs: the latest complete lines."""

from typing import Final

import trio

from ...channels.events import ToolProgress
from ..tools import ToolContext

_EVERY_S: Final = 0.5
_KEPT: Final = 8192
_SHOWN: Final = 500


class RunningOutput:
    """Takes output as it comes; `tell` sends what is new. A line is told when it is complete, so
    that no secret is shown because it was cut in two."""

    def __init__(self, context: ToolContext, tool: str) -> None:
        self._context = context
        self._tool = tool
        self._tail = b""
        self._size = 0
        self._told = 0

    async def take(self, chunk: bytes) -> None:
        """Take a piece of output."""
        self._tail = (self._tail + chunk)[-_KEPT:]
        self._size += len(chunk)

    async def tell(self) -> None:
        """Send an event whenever there is something new, until cancelled."""
        while True:
            await trio.sleep(_EVERY_S)
            if self._size == self._told:
                continue
            self._told = self._size
            await self._context.emit(
                ToolProgress(
                    tool_call_id=self._context.tool_call_id,
                    tool=self._tool,
                    progress=self._size,
                    total=None,
                    message=self._shown(),
                )
            )

    def _shown(self) -> str:
        complete = self._tail[: self._tail.rfind(b"\n") + 1].decode(errors="replace")
        return self._context.scrub(complete)[-_SHOWN:]
