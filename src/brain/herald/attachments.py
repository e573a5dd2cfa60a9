"""Media on their way to a provider: what each takes in its own form, and who makes them ready.

Transcripts hold media by reference. The gateway has them made ready for the provider that is about
to be called, because a fallback may take other forms than the model before it.
"""

from collections.abc import Mapping
from typing import Final, Literal, Protocol, TypeAlias

from msgspec import Struct

from .conversation import (
    AudioBlock,
    DocumentBlock,
    ImageBlock,
    MediaBlock,
    ModelRequest,
    TextBlock,
    UrlSource,
)

PDF: Final = "application/pdf"

_IMAGES: Final = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})


class Carriage(Struct, frozen=True):
    """What a provider's wire carries: media types in the message, kinds of block by their URL."""

    types: frozenset[str]
    by_url: tuple[type[MediaBlock], ...] = ()

    def takes(self, block: MediaBlock, media_type: str) -> bool:
        """Whether this block can go as it is; `media_type` is that of its data."""
        if isinstance(block.source, UrlSource):
            return isinstance(block, self.by_url)
        return media_type in self.types


CARRIES: Final[Mapping[str, Carriage]] = {
    "anthropic": Carriage(_IMAGES | {PDF}, (ImageBlock, DocumentBlock)),
    "openai": Carriage(_IMAGES | {"audio/wav", "audio/mpeg"}, (ImageBlock,)),
    "gemini": Carriage(
        (_IMAGES - {"image/gif"})
        | {f"audio/{kind}" for kind in ("wav", "mpeg", "aiff", "aac", "ogg", "flac")}
        | {f"video/{kind}" for kind in ("mp4", "mpeg", "quicktime", "webm", "x-msvideo", "3gpp")}
    ),
}
"""Contract, section 4.1, and the providers' documentation of November 2026.

Anthropic: docs.claude.com, "Vision", "PDF support". OpenAI: `image_url` and `input_audio` of
chat completions, WAV and MP3 only. Gemini: ai.google.dev, "Image", "Audio" and "Video
understanding"; it has no GIF and, for most models, fetches no URL.
"""


MediaKind: TypeAlias = Literal["image", "document", "audio", "video"]


def kind_of(block: MediaBlock) -> MediaKind:
    """The block's name on the wire of /execute."""
    match block:
        case ImageBlock():
            return "image"
        case DocumentBlock():
            return "document"
        case AudioBlock():
            return "audio"
        case _:
            return "video"


def in_place_of(block: MediaBlock, reason: str) -> TextBlock:
    """What the model is told instead of media it cannot be given."""
    name = f" {block.name!r}" if isinstance(block, DocumentBlock) and block.name else ""
    return TextBlock(f"[The {kind_of(block)}{name} that was attached here is left out: {reason}]")


class LeftOut(Struct, frozen=True):
    """Media that a call went without. `media` is its id in the brain, or its URL."""

    media: str
    kind: MediaKind
    reason: str


class Prepared(Struct, frozen=True):
    """A request whose media the provider takes, and what had to stay behind."""

    request: ModelRequest
    left_out: tuple[LeftOut, ...] = ()


class Attachments(Protocol):
    """Makes the media of a request ready for one provider."""

    async def prepare(self, request: ModelRequest, provider: str) -> Prepared:
        """The request with its media loaded, turned into text, or left out."""
        ...

    async def refused(self, request: ModelRequest, provider: str, reason: str) -> bool:
        """Note which media a provider refused with these words.

        True when the call may be made once more: `prepare` will leave them out.
        """
        ...


class NoAttachments:
    """For whoever speaks to a model without a brain behind it: media go as they are."""

    async def prepare(self, request: ModelRequest, provider: str) -> Prepared:
        """The request itself."""
        return Prepared(request)

    async def refused(self, request: ModelRequest, provider: str, reason: str) -> bool:
        """Nothing is known about its media."""
        return False
