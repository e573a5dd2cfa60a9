"""PNG files whose extras are broken: browsers show them, Pillow and providers may not."""

import struct
from typing import Final

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_NEEDED: Final = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
"""The chunks that make the picture (PNG, third edition, 4.7); the others only describe it."""


def bare(data: bytes) -> bytes:
    """A PNG without profiles, texts and the like; anything else comes back as it is."""
    if not data.startswith(_SIGNATURE):
        return data
    kept, at = [_SIGNATURE], len(_SIGNATURE)
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if name in _NEEDED:
            kept.append(data[at:end])
        at = end
    return b"".join(kept)
