"""Group commit: many writes in one transaction, each as if it were alone."""

from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar
from weakref import WeakSet

import apsw
from outcome import Error, Outcome, Value

from .brain_file import BrainFile
from .connection import Connection, Handle
from .faults import Verdict, explain, judge

T = TypeVar("T")

Work: TypeAlias = Callable[[Connection], T]
"""One transaction's worth of statements. It may run more than once, each time from the start."""


class Transactions:
    """Runs works on one connection, in its thread, and leaves no transaction open."""

    def __init__(self, db: Handle, brain: BrainFile) -> None:
        self._db = db
        self._brain = brain
        self._working = False
        self._cursors: WeakSet[apsw.Cursor] = WeakSet()
        db.set_commit_hook(self._refuse_commit)
        db.cursor_factory = self._make_cursor

    def write(self, works: Sequence[Work[object]]) -> list[Outcome[object]]:
        """Commit `works` together; one that raises is rolled back alone and keeps its exception.

        Where one of them loses the whole transaction (no room, a conflict at the commit), each
        is done again in a transaction of its own. Raises SeptemberError BRAIN_UNUSABLE where no
        work is to blame; what had been committed by then nobody can tell.
        """
        self._brain.check_in_place()
        if len(works) > 1:
            try:
                return self._together(works)
            except Exception as error:
                self._unless_unusable(error)
        return [self._alone(work) for work in works]

    def read(self, work: Work[object]) -> Outcome[object]:
        """Run `work` on one snapshot."""
        try:
            return Value(self._transaction("BEGIN", lambda: self._call(work)))
        except Exception as error:
            return Error(self._unless_unusable(error))

    def _alone(self, work: Work[object]) -> Outcome[object]:
        try:
            return Value(self._transaction("BEGIN IMMEDIATE", lambda: self._call(work)))
        except Exception as error:
            return Error(self._unless_unusable(error))

    def _together(self, works: Sequence[Work[object]]) -> list[Outcome[object]]:
        return self._transaction(
            "BEGIN IMMEDIATE", lambda: [self._in_savepoint(work) for work in works]
        )

    def _transaction(self, begin: str, body: Callable[[], T]) -> T:
        db = self._db
        db.execute(begin)
        try:
            value = body()
            db.execute("COMMIT")
            return value
        except BaseException:  # a cancellation too: nothing may stay open
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _in_savepoint(self, work: Work[object]) -> Outcome[object]:
        db = self._db
        db.execute("SAVEPOINT work")
        try:
            value = self._call(work)
        except Exception as error:
            if judge(error, db.system_errno) is not Verdict.CALLER or not db.in_transaction:
                raise
            db.execute("ROLLBACK TO work")
            db.execute("RELEASE work")
            return Error(error)
        db.execute("RELEASE work")
        return Value(value)

    def _call(self, work: Work[T]) -> T:
        self._working = True
        try:
            return work(self._db)
        finally:
            self._working = False
            for cursor in self._cursors:  # one left half-read would hold up the commit
                cursor.close(True)

    def _make_cursor(self, db: apsw.Connection) -> apsw.Cursor:
        cursor = apsw.Cursor(db)
        self._cursors.add(cursor)
        return cursor

    def _refuse_commit(self) -> bool:
        if self._working:
            raise RuntimeError("a work must not end its transaction: the store commits it")
        return False

    def _unless_unusable(self, error: Exception) -> Exception:
        """Return what the caller is to hear of `error`, or raise it for the store to crash on."""
        verdict = judge(error, self._db.system_errno)
        told = explain(error, verdict, self._brain.path)
        if verdict is Verdict.UNUSABLE:
            raise told
        return told
