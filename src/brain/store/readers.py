"""The readers: a few connections, each lent to one read at a time."""

from collections.abc import Sequence

import trio
from outcome import Outcome

from .brain_file import BrainFile
from .session import Session
from .transactions import Transactions, Work


class Readers:
    """Lends the session used last, whose cache is warm; who comes when all are lent waits."""

    def __init__(self, sessions: Sequence[Session], brain: BrainFile) -> None:
        self._idle = list(sessions)
        self._lent = trio.Semaphore(len(sessions))
        self._brain = brain

    async def read(self, work: Work[object]) -> Outcome[object]:
        """Run `work` on one snapshot of the brain; a cancellation interrupts it."""
        async with self._lent:
            session = self._idle.pop()
            try:
                return await session.run(lambda db: Transactions(db, self._brain).read(work))
            finally:
                self._idle.append(session)
