"""Where in a turn its cancel came, and how to tell that a replay has got there.

The transcript of a cancelled turn says it: text that was shown but not finished is its last
message, calls that had no answer have `cancelled` for one; else nothing of the next model call had
been shown.
"""

from typing import Final

import trio

from ..herald.conversation import ChatMessage, TextBlock, ToolResultBlock
from .record import RecordedTurn

CANCELLED: Final = "cancelled"
"""The status of such a turn, and the answer that its open calls get."""


class Cut:
    """The moment of the cancel. `is_near` is set by whoever sees the replay get to it."""

    def __init__(self, turn: RecordedTurn) -> None:
        self.wanted = turn.ending == CANCELLED
        last = turn.messages[-1]
        self.in_tools = self.wanted and any(map(was_cut, last.blocks))
        self._text = _text(last) if self.wanted and last.role == "assistant" else ""
        self._stored = len(turn.messages) - (1 if self._text or self.in_tools else 0)
        self.is_near = trio.Event()

    @property
    def in_text(self) -> bool:
        """Whether the model's last message was being written."""
        return bool(self._text)

    def is_here(self, stored: int, shown: str) -> bool:
        """Whether so many messages and this text of the next one are all there was, or more."""
        if not self.wanted or stored < self._stored:
            return False
        if stored > self._stored:
            return True  # past it: what follows is not in the record
        return self.is_near.is_set() if self.in_tools else shown == self._text


def was_cut(block: object) -> bool:
    """Whether this is the answer of a call that had none when the cancel came."""
    return isinstance(block, ToolResultBlock) and block.is_error and block.content == CANCELLED


def _text(message: ChatMessage) -> str:
    return "".join(block.text for block in message.blocks if isinstance(block, TextBlock))
