"""The file indexer: the actor that keeps the index of files as the files are, in the background.

A search asks for a pass over its folders and waits for it as long as it likes; the pass goes on
without it. A second request while a pass runs is answered by the next one, so that what was written
before the request is found.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias, assert_never

import trio
from msgspec import Struct

from ...actors import Actor, Later, Message, Reply
from ...errors import SeptemberError
from ...logs import get_logger
from ..herald.embeddings import Embeddings
from ..memory.vectors import made_space
from ..store.database import Database
from . import rows, walk
from .walk import ReadFile, Stamp

_log = get_logger("september.files")

MOST_FILES: Final = 50_000
"""Files of one root that are looked at."""

_BATCH: Final = 32
"""Files for each transaction: nobody's turn waits longer than for one."""

_EMBEDDED: Final = 128
_FIRST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 60.0


class Refresh(Message[None], Struct, frozen=True):
    """Look at a root again; answered when a pass that began afterwards is over."""

    root: Path


class PassOver(Message[None], Struct, frozen=True):
    """A pass is over; told by the indexer to itself."""

    root: Path


class Embedded(Message[None], Struct, frozen=True):
    """Every chunk had its vector; told by the indexer to itself."""


class Passing(Struct, frozen=True):
    """How far the running pass is: files read of those that had changed."""

    done: int
    changed: int


class GetPassing(Message[Passing | None], Struct, frozen=True):
    """How far the pass over a root is; None when none runs."""

    root: Path


FileIndexerMessage: TypeAlias = Refresh | PassOver | Embedded | GetPassing


class _Pass(Struct):
    """A pass over a root: counts while it runs, an event for its end."""

    over: trio.Event
    done: int = 0
    changed: int = 0


class FileIndexer(Actor[FileIndexerMessage]):
    """One pass over each root at a time; what a crash leaves undone, the next pass finds."""

    def __init__(self, database: Database, embeddings: Embeddings) -> None:
        self._database = database
        self._embeddings = embeddings
        self._running: dict[Path, _Pass] = {}
        self._next: dict[Path, trio.Event] = {}
        self._embedding = False
        self._embed_again = False

    async def handle(self, msg: FileIndexerMessage) -> Reply | Later:
        match msg:
            case Refresh(root):
                return msg.reply_after(self._asked(root).wait)
            case PassOver(root):
                self._over(root)
                return msg.done()
            case Embedded():
                self._embedding = False
                if self._embed_again:
                    self._embed()
                return msg.done()
            case GetPassing(root):
                found = self._running.get(root)
                return msg.reply(Passing(found.done, found.changed) if found else None)
            case _:
                assert_never(msg)

    def _asked(self, root: Path) -> trio.Event:
        if root in self._running:
            return self._next.setdefault(root, trio.Event())
        return self._begin(root, trio.Event())

    def _begin(self, root: Path, over: trio.Event) -> trio.Event:
        self._running[root] = begun = _Pass(over)
        tell = partial(self.ref.cast, PassOver(root))
        self.beside(partial(_pass, self._database, root, begun, tell))
        return over

    def _over(self, root: Path) -> None:
        self._running.pop(root).over.set()
        following = self._next.pop(root, None)
        if following is not None:
            self._begin(root, following)
        self._embed()

    def _embed(self) -> None:
        """Give chunks their vectors; one such work at a time."""
        self._embed_again = self._embedding
        if not self._embedding:
            self._embedding = True
            tell = partial(self.ref.cast, Embedded())
            self.beside(partial(_embed, self._database, self._embeddings, tell))


async def _pass(database: Database, root: Path, state: _Pass, tell: Callable[[], None]) -> None:
    known = await database.read(partial(rows.known, root=str(root)))
    look = partial(walk.stamps, root, MOST_FILES, trio.from_thread.check_cancelled)
    there = await trio.to_thread.run_sync(look)
    gone = [path for path in known if path not in there]
    if gone:
        await database.write(partial(rows.forget, paths=gone))
    changed = [(path, stamp) for path, stamp in there.items() if known.get(path) != stamp]
    state.changed = len(changed)
    for start in range(0, len(changed), _BATCH):
        batch = changed[start : start + _BATCH]
        read = await trio.to_thread.run_sync(_read_all, root, batch)
        await database.write(partial(rows.keep, files=read))
        state.done += len(batch)
    tell()


def _read_all(root: Path, batch: list[tuple[str, Stamp]]) -> list[ReadFile]:
    return [walk.read(root, path, stamp) for path, stamp in batch]


async def _embed(database: Database, embeddings: Embeddings, tell: Callable[[], None]) -> None:
    space = await database.write(partial(made_space, name=embeddings.name))
    wait = _FIRST_WAIT_S
    wanted = partial(rows.without_vector, space=space, limit=_EMBEDDED)
    while texts := await database.read(wanted):
        try:
            vectors = await embeddings.embed(tuple(texts.values()))
        except SeptemberError as error:
            _log.warning("files wait for the embedder", error=error.code, retry_s=wait)
            await trio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_S)
            continue
        wait = _FIRST_WAIT_S
        found = dict(zip(texts, vectors, strict=True))
        await database.write(partial(rows.settle, space=space, vectors=found))
    tell()
