"""The store: the actor that owns the brain, one writer and a few readers."""

from collections.abc import Callable
from functools import partial
from importlib.resources.abc import Traversable
from typing import Any, Generic, TypeAlias, TypeVar, assert_never, get_type_hints

import trio
from msgspec import Struct
from outcome import Outcome

from ...actors import Actor, Later, Message, Reply
from .brain_file import BrainFile
from .connection import Connection
from .faults import explain, judge
from .lock import BrainLock
from .migrate import Mode, available, migrate
from .readers import Readers
from .session import Role, Session
from .writer import Writer

T = TypeVar("T")


class Read(Message[Outcome[T]], Struct, Generic[T], frozen=True):
    """Run `work` on a snapshot."""

    work: Callable[[Connection], T]

    def __repr__(self) -> str:
        return f"Read({_name(self.work)})"

    def answer_type(self) -> object:
        """What it is answered with, as its work declares it: a replay needs to know."""
        return _outcome_of(self.work)


class Write(Message[Outcome[T]], Struct, Generic[T], frozen=True):
    """Run `work` in a transaction; the answer comes after the commit."""

    work: Callable[[Connection], T]

    def __repr__(self) -> str:
        return f"Write({_name(self.work)})"

    def answer_type(self) -> object:
        """See `Read.answer_type`."""
        return _outcome_of(self.work)


class Serve(Message[None], Struct, frozen=True):
    """Commit writes from now on; the store tells itself, once in each of its lives."""


StoreMessage: TypeAlias = Read[Any] | Write[Any] | Serve  # each call has its own T


class Store(Actor[StoreMessage]):
    """Opens the brain, brings its schema up to date, and serves reads and writes.

    `brain` is shared by all incarnations. An unusable brain is a crash: whoever waits hears
    ActorCrashed with a SeptemberError as its cause, and the next incarnation opens it anew.
    """

    urgent = (Serve,)

    def __init__(
        self,
        brain: BrainFile,
        *,
        readers: int = 3,
        migrations: Mode = "auto",
        migrations_dir: Traversable | None = None,
    ) -> None:
        self._brain = brain
        self._reader_count = readers
        self._mode: Mode = migrations
        self._migrations_dir = migrations_dir
        self._lock: BrainLock | None = None
        self._sessions: list[Session] = []
        self._writer: Writer
        self._readers: Readers

    async def started(self) -> None:
        """Lock, open, migrate. Raises ConfigError or SeptemberError saying what to do."""
        self._brain.prepare()
        self._lock = await trio.to_thread.run_sync(BrainLock, self._brain.path)
        try:
            await self._open()
        except Exception as error:
            raise explain(error, judge(error), self._brain.path) from error
        self.ref.cast(Serve())

    async def handle(self, msg: StoreMessage) -> Reply | Later:
        match msg:
            case Read(work):
                return msg.reply_after(partial(self._readers.read, work))
            case Write(work):
                return msg.reply_after(partial(self._writer.write, work))
            case Serve():
                return msg.reply_after(self._writer.commit_forever)
            case _:
                assert_never(msg)

    async def stopping(self) -> None:
        """Close everything, readers first: the last one to close tidies the log away."""
        while self._sessions:
            await self._sessions.pop().close()
        if self._lock is not None:
            self._lock.release()

    async def _open(self) -> None:
        found = available(self._migrations_dir)
        writer = await self._open_session(Role.WRITER)
        self._brain.remember()
        await writer.run(lambda db: migrate(db, self._brain.path, found, self._mode))
        self._writer = Writer(writer)
        readers = [await self._open_session(Role.READER) for _ in range(self._reader_count)]
        self._readers = Readers(readers)

    async def _open_session(self, role: Role) -> Session:
        session = await Session.open(self._brain, role)
        self._sessions.append(session)
        return session


def _outcome_of(work: Callable[[Connection], object]) -> object:
    function: object = work.func if isinstance(work, partial) else work
    generic: Any = Outcome
    return generic[get_type_hints(function).get("return", Any)]


def _name(work: Callable[[Connection], object]) -> str:
    """Name a work by its function alone: what it closes over may be anybody's secret."""
    function: object = work.func if isinstance(work, partial) else work
    return str(getattr(function, "__qualname__", type(function).__qualname__))
