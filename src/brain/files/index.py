"""The file index as tools use it: bring it up to date, then search it."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import trio
from msgspec import Struct

from ...actors import ActorError, ActorRef
from ..herald.embeddings import Embeddings
from ..memory.memory import sight_of
from ..memory.vectors import VectorIndex, space_number
from ..memory.words import Lexicon, Query
from ..store.connection import Connection
from ..store.database import Database
from . import rows
from .indexer import FileIndexerMessage, GetPassing, Passing, Refresh
from .rows import VECTORS, Standing
from .search import FileHit, search

PATIENCE_S: Final = 5.0
"""How long a search waits for the index, in seconds; then it looks in what is there."""


class Found(Struct, frozen=True):
    """What a search found; `passing` says how far the index is where it is not yet complete."""

    hits: tuple[FileHit, ...]
    standing: Standing
    passing: Passing | None


class FileIndex:
    """One Engine's index of text files."""

    def __init__(
        self, database: Database, embeddings: Embeddings, indexer: ActorRef[FileIndexerMessage]
    ) -> None:
        self._database = database
        self._embeddings = embeddings
        self._indexer = indexer
        self._lexicon = Lexicon("file", "file_chunks")
        self._vectors = VectorIndex(VECTORS)

    async def search(
        self, text: str, roots: Sequence[Path], folders: Sequence[str], limit: int
    ) -> Found:
        """The files below `folders`, which are below `roots`, that answer `text` best.

        The roots are looked at again first, for at most PATIENCE_S. Raises nothing of its own.
        """
        passing = await self._refreshed(roots)
        query, space = await self._database.read(partial(self._understood, text=text))
        sight = None
        if space and query.stems:
            sight = await sight_of(space, self._embeddings.embed_query(text, query.weights))
        look = partial(
            search, query=query, sight=sight, index=self._vectors, folders=folders, limit=limit
        )
        hits = await self._database.read(look)
        standing = await self._database.read(partial(rows.standing, folders=folders))
        return Found(hits, standing, passing)

    async def _refreshed(self, roots: Sequence[Path]) -> Passing | None:
        """Wait for the index; how far it is if that takes too long."""
        with trio.move_on_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                for root in roots:
                    nursery.start_soon(self._refresh, root)
            return None
        passings = [await self._indexer.call(GetPassing(root)) for root in roots]
        running = [one for one in passings if one is not None]
        if not running:
            return None
        return Passing(sum(one.done for one in running), sum(one.changed for one in running))

    async def _refresh(self, root: Path) -> None:
        try:
            await self._indexer.call(Refresh(root), timeout=PATIENCE_S + 1)
        except ActorError:
            return  # what was indexed before is still there to be searched

    def _understood(self, connection: Connection, text: str) -> tuple[Query, int]:
        filled = connection.execute(f"SELECT 1 FROM {VECTORS} LIMIT 1").fetchone()
        space = space_number(connection, self._embeddings.name) if filled else 0
        return self._lexicon.query(connection, text), space
