"""What providers look at in media: that base64 decodes, and to what its type says."""

import base64
import binascii

_BEGINS = {
    "image/png": (0, b"\x89PNG\r\n\x1a\n"),
    "image/jpeg": (0, b"\xff\xd8\xff"),
    "image/gif": (0, b"GIF8"),
    "image/webp": (8, b"WEBP"),
    "application/pdf": (0, b"%PDF-"),
    "audio/wav": (8, b"WAVE"),
    "audio/flac": (0, b"fLaC"),
    "audio/ogg": (0, b"OggS"),
    "video/mp4": (4, b"ftyp"),
    "video/webm": (0, b"\x1a\x45\xdf\xa3"),
}


def decoded(data: object) -> bytes | None:
    """The bytes of standard or URL-safe base64; None for anything else."""
    if not isinstance(data, str):
        return None
    try:
        return base64.b64decode(data.replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error:
        return None


def appears_to_be(media_type: str, data: bytes) -> bool:
    """Whether the first bytes are those of the type."""
    at, begin = _BEGINS.get(media_type, (0, b""))
    return bool(data) and data[at : at + len(begin)] == begin
