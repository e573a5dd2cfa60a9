"""Kinds of media: what may be attached, and within which limits (contract, section 4.1)."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from ..herald.attachments import PDF
from ..herald.conversation import (
    AudioBlock,
    DocumentBlock,
    ImageBlock,
    MediaBlock,
    VideoBlock,
)

MiB: Final = 2**20

MOST_BLOCKS: Final = 20
"""Blocks of one message: what all three providers take."""

MOST_PIXELS: Final = 64_000_000
"""Pixels of an image. A larger one is taken for a decompression bomb: 64 million are 256 MB."""

ADVISED_EDGE: Final = 2048
ADVISED_BYTES: Final = 5 * MiB
"""Longest edge (pixels, exclusive) and size of an image that every provider takes (section 4.1)."""


class Kind(Struct, frozen=True):
    """One kind of block: its media types, and the most bytes of one, once decoded."""

    types: frozenset[str]
    most_bytes: int


KINDS: Final[Mapping[type[MediaBlock], Kind]] = {
    ImageBlock: Kind(frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"}), 20 * MiB),
    DocumentBlock: Kind(frozenset({PDF}), 24 * MiB),
    AudioBlock: Kind(
        frozenset(f"audio/{one}" for one in ("wav", "mpeg", "aiff", "aac", "ogg", "flac")),
        15 * MiB,
    ),
    VideoBlock: Kind(
        frozenset(
            f"video/{one}" for one in ("mp4", "mpeg", "quicktime", "webm", "x-msvideo", "3gpp")
        ),
        15 * MiB,
    ),
}
"""A request to Anthropic holds 32 MB, one to Gemini 20 MB; base64 makes each a third larger."""

ALIASES: Final[Mapping[str, str]] = {
    "image/jpg": "image/jpeg",
    "audio/mp3": "audio/mpeg",
    "audio/wave": "audio/wav",
    "audio/x-wav": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/x-aiff": "audio/aiff",
    "video/mov": "video/quicktime",
    "video/avi": "video/x-msvideo",
}
"""Names that are in use for the types above."""


def normal(media_type: str) -> str:
    """A media type by the name that stands in `KINDS`."""
    plain = media_type.partition(";")[0].strip().lower()
    return ALIASES.get(plain, plain)


_SIGNATURES: Final[tuple[tuple[str, int, bytes], ...]] = (
    ("image/png", 0, b"\x89PNG\r\n\x1a\n"),
    ("image/jpeg", 0, b"\xff\xd8\xff"),
    ("image/gif", 0, b"GIF8"),
    ("image/webp", 8, b"WEBP"),
    (PDF, 0, b"%PDF-"),
    ("audio/wav", 8, b"WAVE"),
    ("audio/flac", 0, b"fLaC"),
    ("audio/ogg", 0, b"OggS"),
    ("audio/aiff", 8, b"AIF"),
    ("video/x-msvideo", 8, b"AVI "),
    ("video/webm", 0, b"\x1a\x45\xdf\xa3"),
    ("video/mpeg", 0, b"\x00\x00\x01"),
    ("video/mp4", 4, b"ftyp"),
    ("video/quicktime", 4, b"ftyp"),
    ("video/3gpp", 4, b"ftyp"),
)


def is_picture(head: bytes) -> bool:
    """Whether these first bytes are those of an image that may be attached."""
    return any(fits_signature(one, head) for one in KINDS[ImageBlock].types)


def fits_signature(media_type: str, data: bytes) -> bool:
    """Whether the first bytes are those of the type; True for types without a signature."""
    known = [(at, sign) for name, at, sign in _SIGNATURES if name == media_type]
    return not known or any(data[at : at + len(sign)] == sign for at, sign in known)
