"""Request bodies, read within a limit, and discarded politely when they are refused."""

from collections.abc import Sequence
from typing import Final

import trio
from hypercorn.typing import ASGIReceiveCallable

from ..errors import SeptemberError

LINGER_S: Final = 2.0
LINGER_BYTES: Final = 16 * 2**20
"""How long, and how much of, a refused body is still read.

A connection that is closed while the client writes is reset, and a reset can destroy the answer
before the client has read it (RFC 9112, section 9.6).
"""


class Disconnected(Exception):
    """The client left before its request was whole."""


async def read_body(
    receive: ASGIReceiveCallable, *, declared: str | None, limit: int, within: float
) -> bytes:
    """Read a body of at most `limit` bytes, which must arrive `within` so many seconds.

    `declared` is the Content-Length. Raises PAYLOAD_TOO_LARGE as soon as either shows that the
    body is too large, INVALID_REQUEST when it is too slow, Disconnected when nobody is there.
    """
    if declared is not None and int(declared) > limit:
        raise too_large(limit)
    with trio.move_on_after(within):
        return await _read(receive, limit)
    raise SeptemberError(
        "INVALID_REQUEST",
        f"the body did not arrive within {within:g} s; send it at once",
        {"timeout_seconds": within},
    )


async def _read(receive: ASGIReceiveCallable, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] != "http.request":
            raise Disconnected
        parts.append(event["body"])
        size += len(event["body"])
        if size > limit:
            raise too_large(limit)
        if not event["more_body"]:
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def discard_body(receive: ASGIReceiveCallable) -> None:
    """Read on, within the linger limits, so that the client can finish writing."""
    left = LINGER_BYTES
    with trio.move_on_after(LINGER_S):
        while left > 0:
            event = await receive()
            if event["type"] != "http.request" or not event["more_body"]:
                return
            left -= len(event["body"])


def check_size(body: bytes, media: Sequence[object], limit: int) -> None:
    """Raise PAYLOAD_TOO_LARGE for a body above `limit` (bytes), unless it carries media."""
    if not media and len(body) > limit:
        raise too_large(limit)


def too_large(limit: int) -> SeptemberError:
    """The refusal of a body over the limit, in bytes."""
    return SeptemberError(
        "PAYLOAD_TOO_LARGE",
        f"the body is larger than {limit} bytes; send less, or raise MAX_BODY_BYTES"
        " (MEDIA_MAX_BODY_BYTES for media, IMPORT_MAX_BODY_BYTES for an import)",
        {"max_body_bytes": limit},
    )
