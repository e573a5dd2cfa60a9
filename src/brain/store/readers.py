"""The readers: a few sessions, each lent to one read at a time."""

from collections.abc import Sequence

import trio
from outcome import Outcome

from .session import Session
from .transactions import Work


class Readers:
    """Lends the session used last, whose cache is warm; who comes when all are lent waits."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        self._idle = list(sessions)
        self._free = trio.Semaphore(len(sessions))

    async def read(self, work: Work[object]) -> Outcome[object]:
        """Run `work` on one snapshot of the brain; a cancellation interrupts it."""
        async with self._free:
            session = self._idle.pop()
            try:
                return await session.run(lambda _: session.transactions.read(work))
            finally:
                self._idle.append(session)
