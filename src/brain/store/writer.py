"""The writer: writes that arrive while a transaction runs make up the next one."""

from collections import deque
from typing import Final

import trio
from outcome import Outcome

from .session import Session
from .transactions import Work

MOST_PER_TRANSACTION: Final = 256
"""Bounds what one failure makes the others do again, and how long the first one waits."""


class _Waiting:
    """A write and whoever waits for it."""

    __slots__ = ("committed", "outcome", "work")

    def __init__(self, work: Work[object]) -> None:
        self.work = work
        self.outcome: Outcome[object] | None = None
        self.committed = trio.Event()


class Writer:
    """Commits writes in the order they came; answers each after its commit."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._line: deque[_Waiting] = deque()
        self._arrival = trio.Event()

    async def write(self, work: Work[object]) -> Outcome[object]:
        """Have `work` committed. Cancelled before its transaction began, it never runs."""
        waiting = _Waiting(work)
        self._line.append(waiting)
        self._arrival.set()
        try:
            await waiting.committed.wait()
        finally:
            if waiting in self._line:
                self._line.remove(waiting)
        assert waiting.outcome is not None
        return waiting.outcome

    async def commit_forever(self) -> None:
        """Run one transaction after another; raises SeptemberError when the brain is unusable."""
        while True:
            await self._arrival.wait()
            self._arrival = trio.Event()
            while self._line:
                await self._commit()

    async def _commit(self) -> None:
        size = min(len(self._line), MOST_PER_TRANSACTION)
        group = [self._line.popleft() for _ in range(size)]
        works = [waiting.work for waiting in group]
        outcomes = await self._session.run(lambda _: self._session.transactions.write(works))
        for waiting, outcome in zip(group, outcomes, strict=True):
            waiting.outcome = outcome
            waiting.committed.set()
