"""Pictures that a tool found, kept as attachments are, so that the model can look at them."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final, TypeAlias

import trio

from ..herald.conversation import ImageBlock, StoredSource
from ..store.connection import Connection
from ..store.database import Database
from . import images
from .images import BadImage
from .kinds import ADVISED_BYTES, KINDS
from .png import bare
from .rows import MediaItem, item_of, keep

SHOWN: Final = 4
"""Pictures of one answer that the model is shown: each takes some 1,500 tokens of its window."""

MOST_BYTES: Final = KINDS[ImageBlock].most_bytes

Picture: TypeAlias = tuple[str, bytes]
"""Media type and bytes."""


async def presentable(pictures: Iterable[bytes]) -> tuple[Picture, ...]:
    """The first of these that can be shown, within the advised limits; others are left out."""
    found: list[Picture] = []
    for data in pictures:
        fit = await trio.to_thread.run_sync(_fit, data) if len(found) < SHOWN else None
        if fit is not None:
            found.append(fit)
    return tuple(found)


async def shown(
    database: Database, task_id: str, pictures: Sequence[Picture]
) -> tuple[ImageBlock, ...]:
    """Blocks that show these; none where there is no conversation to show them in."""
    items = [item_of(task_id, *one) for one in pictures]
    if not items or not await database.write(partial(_keep, task_id=task_id, items=items)):
        return ()
    return tuple(
        ImageBlock(StoredSource(one.media_id, one.media_type, len(one.data))) for one in items
    )


def _keep(connection: Connection, task_id: str, items: Sequence[MediaItem]) -> bool:
    known = connection.execute("SELECT 1 FROM conversations WHERE task_id = ?", (task_id,))
    if known.fetchone() is None:
        return False
    keep(connection, task_id, items)
    return True


def _fit(data: bytes) -> Picture | None:
    """The picture as it is, or else without its extras; None for what cannot be shown."""
    picture = _whole(data)
    if picture is None and (stripped := bare(data)) is not data:
        picture = _whole(stripped)
    return picture


def _whole(data: bytes) -> Picture | None:
    """None for what is no picture, or too large a one.

    It is decoded as a whole: a provider refuses a conversation with a broken picture for ever.
    """
    if len(data) > MOST_BYTES:
        return None
    try:
        seen = images.look(data)
        if seen.is_large or len(data) >= ADVISED_BYTES:
            smaller, its_type = images.shrunk(data)
            return its_type, smaller
        images.verify(data)
    except BadImage:
        return None
    return seen.media_type, data
