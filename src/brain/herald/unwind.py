"""Closing nested async generators that hold a socket."""

from collections.abc import AsyncIterator
from contextlib import suppress

import trio


async def unwind(events: AsyncIterator[object]) -> None:
    """Close an abandoned iterator and every generator within it; the socket closes at once.

    Neither `break` nor `aclose` reaches the innermost of the generators that the SDKs and httpx2
    nest, and it is the one with the socket: only an exception from the socket's read passes
    through all of them. So the rest is read under a cancelled scope: what is already buffered
    passes, the first real read is cancelled, and each generator closes on the way out.
    """
    with trio.CancelScope(shield=True) as scope, suppress(Exception):
        scope.cancel(reason="the stream was left")
        async for _ in events:
            pass
