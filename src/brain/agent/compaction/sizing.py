"""How many tokens a context takes: an estimate by bytes, and what the provider makes of it.

Every provider counts differently, so the estimate only compares. What it is worth in tokens is
learned from the usage of each call (`Scale`).
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from ...herald.conversation import (
    Base64Source,
    Block,
    ChatMessage,
    ImageBlock,
    MediaBlock,
    StoredSource,
)

BYTES_PER_TOKEN: Final = 4
"""English text has about four bytes to a token; other scripts take more bytes, and more tokens."""

IMAGE_TOKENS: Final = 1600
"""What an image of the largest useful size costs at Anthropic: about width x height / 750."""

MEDIA_BYTES: Final = 200
"""Bytes of a document, sound or film for a token: a guess, until the provider has counted."""

_LEAST: Final = 0.2
_MOST: Final = 8.0
"""Tokens for each estimated one: beyond this a provider's count is taken for an error of its."""


def estimate(value: object) -> int:
    """The estimated tokens of anything that becomes JSON."""
    return -(-len(msgspec.json.encode(value)) // BYTES_PER_TOKEN)


def message_size(message: ChatMessage) -> int:
    """The estimated tokens of a message."""
    return sum(_block_size(block) for block in message.blocks)


def messages_size(messages: Iterable[ChatMessage]) -> int:
    """The estimated tokens of messages."""
    return sum(map(message_size, messages))


def _block_size(block: Block) -> int:
    return _media_size(block) if isinstance(block, MediaBlock) else estimate(block)


def _media_size(block: MediaBlock) -> int:
    """An image costs the same whatever its bytes; of the rest only the bytes are known."""
    match block.source:
        case StoredSource(size=size) if not isinstance(block, ImageBlock):
            return IMAGE_TOKENS + size // MEDIA_BYTES
        case Base64Source(data=data) if not isinstance(block, ImageBlock):
            return IMAGE_TOKENS + len(data) // MEDIA_BYTES
        case _:
            return IMAGE_TOKENS


class Scale(msgspec.Struct, frozen=True):
    """Tokens of the provider for each estimated one."""

    ratio: float = 1.0

    def tokens(self, estimated: int) -> int:
        """What the provider will count."""
        return round(estimated * self.ratio)

    def estimated(self, tokens: float) -> int:
        """The estimate that `tokens` of the provider stand for."""
        return max(0, int(tokens / self.ratio))

    def learned(self, estimated: int, counted: int) -> "Scale":
        """The scale after a call; a provider that counts nothing teaches nothing."""
        if not counted or not estimated:
            return self
        return Scale(min(_MOST, max(_LEAST, counted / estimated)))

    def at_least(self, estimated: int, tokens: int) -> "Scale":
        """The scale after a provider said that `estimated` is more than `tokens`."""
        return Scale(min(_MOST, max(self.ratio, tokens / max(1, estimated))))
