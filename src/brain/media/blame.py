"""Which attachment a provider means when it refuses a request."""

import re
from base64 import b64decode
from collections.abc import Iterator
from typing import Final, TypeAlias

from ..herald.conversation import (
    Base64Source,
    DocumentBlock,
    ImageBlock,
    MediaBlock,
    ModelRequest,
)
from ..herald.transcript import repaired
from . import images
from .images import BadImage
from .kinds import fits_signature

Place: TypeAlias = tuple[int, int]
"""Message and block, counted from 0."""

_ABOUT_MEDIA: Final = re.compile(
    r"image|media|document|pdf|audio|video|picture|base64|inline.?data|\bfile", re.IGNORECASE
)
_PATH: Final = re.compile(r"messages\.(\d+)\.content\.(\d+)")
"""How Anthropic names a block; it counts what was sent, not what is stored."""


def media_in(request: ModelRequest) -> Iterator[tuple[Place, MediaBlock]]:
    """All media of a request, with their places."""
    for number, message in enumerate(request.messages):
        for place, block in enumerate(message.blocks):
            if isinstance(block, MediaBlock):
                yield (number, place), block


def blamed(request: ModelRequest, provider: str, reason: str) -> frozenset[Place]:
    """The places of the media that are to blame; none when the refusal is not about media.

    The one that the provider names; else those that are visibly broken; else those of the newest
    message that has any: the older ones were taken before. Decodes images: call it from a thread.
    """
    media = dict(media_in(request))
    if not media or not _ABOUT_MEDIA.search(reason):
        return frozenset()
    named = _named(request, provider, reason)
    chosen = [place for place, block in media.items() if block is named]
    chosen = chosen or [place for place, block in media.items() if _is_broken(block)]
    newest = max(number for number, _ in media)
    return frozenset(chosen or [place for place in media if place[0] == newest])


def _named(request: ModelRequest, provider: str, reason: str) -> object:
    found = _PATH.search(reason)
    if found is None:
        return None
    sent = repaired(request.messages, provider)
    number, place = int(found[1]), int(found[2])
    if number < len(sent) and place < len(sent[number].blocks):
        return sent[number].blocks[place]
    return None


def _is_broken(block: MediaBlock) -> bool:
    if not isinstance(block.source, Base64Source):
        return False
    data = b64decode(block.source.data)
    if isinstance(block, ImageBlock):
        try:
            images.verify(data)
        except BadImage:
            return True
        return images.look(data).media_type != block.source.media_type
    return isinstance(block, DocumentBlock) and not fits_signature(block.source.media_type, data)
