"""The text of attached documents: taken out once, kept in chunks, read and searched in parts."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import trio

from ..store.database import Database
from . import rows
from .pdf import pdf_text
from .rows import Chunk, StoredMedia

CHUNK: Final = 4_000
"""Most characters of a chunk; a page that is longer makes several."""

_AT_ONCE: Final = 50
"""Chunks for each read of the brain."""

_READERS: Final = 2
"""PDFs that are read at once, whoever asked."""


class Library:
    """Documents of this brain, as text."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._readers = trio.CapacityLimiter(_READERS)

    async def read_in(self, media: StoredMedia) -> StoredMedia:
        """Take the text out unless that was done before; what is known afterwards."""
        if media.pages is not None:
            return media
        async with self._readers:
            known = await self._now(media)
            if known.pages is None:
                await self._extract(media.media_id)
        return await self._now(media)

    async def _now(self, media: StoredMedia) -> StoredMedia:
        found = await self._database.read(partial(rows.find, media_id=media.media_id))
        return found or media

    async def _extract(self, media_id: str) -> None:
        data = await self._database.read(partial(rows.data_of, media_id=media_id))
        text = await pdf_text(data or b"")
        await self._database.write(
            partial(
                rows.keep_text,
                media_id=media_id,
                chunks=tuple(_chunks(text.texts)),
                pages=text.pages,
                problem=text.problem,
            )
        )

    async def measure(self, media: StoredMedia) -> tuple[int, int]:
        """How many chunks and characters its text has."""
        return await self._database.read(partial(rows.size_of_text, media_id=media.media_id))

    async def whole(self, media: StoredMedia, characters: int) -> str:
        """Its text from the beginning, cut after so many characters."""
        parts: list[str] = []
        size = 0
        while size < characters and (more := await self.chunks(media, len(parts) + 1, _AT_ONCE)):
            parts += [f"[{chunk.label}]\n{chunk.text}" for chunk in more]
            size = sum(map(len, parts))
        return "\n\n".join(parts)[:characters]

    async def chunks(self, media: StoredMedia, first: int, count: int) -> tuple[Chunk, ...]:
        """Up to `count` chunks from position `first` (from 1) on."""
        return await self._database.read(
            partial(rows.chunks_of, media_id=media.media_id, first=first, count=count)
        )


def _chunks(pages: Sequence[str]) -> Iterator[Chunk]:
    position = 0
    for number, page in enumerate(pages, 1):
        text = page.strip()
        parts = [text[at : at + CHUNK] for at in range(0, len(text), CHUNK)]
        for part, piece in enumerate(parts, 1):
            position += 1
            label = f"page {number}" + (f", part {part}" if len(parts) > 1 else "")
            yield Chunk(position, label, piece)
