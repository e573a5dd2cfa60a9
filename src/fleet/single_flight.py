"""Single flight: of those who want the same thing at once, one does it and the rest look again."""

from collections.abc import AsyncGenerator, Hashable
from contextlib import asynccontextmanager

import trio


class SingleFlight:
    """A lock for each key, which exists while somebody holds or wants it."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, tuple[trio.Lock, int]] = {}

    @asynccontextmanager
    async def alone(self, key: Hashable) -> AsyncGenerator[None]:
        """Be the only one with this key while the body runs."""
        lock, wanted = self._locks.get(key, (trio.Lock(), 0))
        self._locks[key] = (lock, wanted + 1)
        try:
            async with lock:
                yield
        finally:
            lock, wanted = self._locks.pop(key)
            if wanted > 1:
                self._locks[key] = (lock, wanted - 1)
