"""Taking media in: what came with a request is checked, perhaps shrunk, and named by an id.

A block beyond the limits is refused with 422 and its place in the request; the flags decide how
much is looked at, and whether a large image is refused or made smaller (contract, 4.1 and 19.18).
"""

import binascii
from base64 import b64decode
from collections.abc import Sequence
from functools import partial
from typing import Final

import trio
from msgspec import Struct
from msgspec.structs import replace

from ...errors import SchemaViolation
from ..herald.conversation import (
    Base64Source,
    ImageBlock,
    MediaBlock,
    StoredSource,
    UrlSource,
)
from ..store.database import Database
from ..web.fetch import Fetcher, FetchLimits, FetchRefused, parsed
from . import images, rows
from .images import BadImage
from .kinds import ADVISED_BYTES, ADVISED_EDGE, KINDS, MOST_BLOCKS, fits_signature, normal
from .rows import MediaItem, item_of

_FETCH_S: Final = 20.0


class IntakePolicy(Struct, frozen=True):
    """The flags: look into every block, shrink images over the advised limits."""

    validate: bool = False
    shrink: bool = False


class TakenIn(Struct, frozen=True):
    """Blocks that name their media by id, and what is to be kept under those ids."""

    blocks: tuple[MediaBlock, ...]
    items: tuple[MediaItem, ...]


class Intake:
    """Takes the media of requests in."""

    def __init__(self, database: Database, fetcher: Fetcher, policy: IntakePolicy) -> None:
        self._database = database
        self._fetcher = fetcher
        self._policy = policy

    async def take(
        self, task_id: str, blocks: Sequence[MediaBlock], field: str = "media"
    ) -> TakenIn:
        """Check blocks and give them ids. Raises SchemaViolation (422) naming the block in `field`.

        An image on the web stays where it is; other media on the web are fetched now. A block
        may name, by its id, what the task holds already.
        """
        if len(blocks) > MOST_BLOCKS:
            raise violation(field, f"has {len(blocks)} blocks; send at most {MOST_BLOCKS}")
        taken: list[MediaBlock] = []
        items: dict[str, MediaItem] = {}
        for place, block in enumerate(blocks):
            item = await self._item(task_id, block, f"{field}[{place}]")
            if item is None:
                taken.append(block)
                continue
            items[item.media_id] = item
            source = StoredSource(item.media_id, item.media_type, len(item.data))
            taken.append(replace(block, source=source))
        return TakenIn(tuple(taken), tuple(items.values()))

    async def _item(self, task_id: str, block: MediaBlock, where: str) -> MediaItem | None:
        """What is to be kept of a block; None when it is a reference and stays one."""
        match block.source:
            case Base64Source(media_type, text):
                raw = await trio.to_thread.run_sync(_decoded, text, where)
            case UrlSource(url) if not isinstance(block, ImageBlock):
                media_type, raw = await self._fetched(block, url, where)
            case UrlSource(url):
                _check_url(url, where)
                return None
            case StoredSource(media_id):
                field = f"{where}.source.media_id"
                held = partial(rows.of_task, task_id=task_id, media_id=media_id, field=field)
                await self._database.read(held)
                return None
        check = partial(_admitted, block, where, normal(media_type), raw, self._policy)
        return item_of(task_id, *await trio.to_thread.run_sync(check))

    async def _fetched(self, block: MediaBlock, url: str, where: str) -> tuple[str, bytes]:
        limits = FetchLimits(_FETCH_S, KINDS[type(block)].most_bytes)
        try:
            found = await self._fetcher.fetch(url, limits)
        except FetchRefused as refusal:
            raise violation(f"{where}.source.url", str(refusal)) from refusal
        if found.status != 200:
            raise violation(f"{where}.source.url", f"{url} answered {found.status}")
        return found.media_type, found.body


def _check_url(url: str, where: str) -> None:
    try:
        parsed(url)
    except FetchRefused as refusal:
        raise violation(f"{where}.source.url", str(refusal)) from refusal


def _decoded(text: str, where: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except binascii.Error as error:
        raise violation(f"{where}.source.data", f"is not base64 ({error})") from error


def _admitted(
    block: MediaBlock, where: str, media_type: str, data: bytes, policy: IntakePolicy
) -> tuple[str, bytes]:
    """The media type and bytes to keep."""
    kind = KINDS[type(block)]
    if media_type not in kind.types:
        known = ", ".join(sorted(kind.types))
        raise violation(f"{where}.source.media_type", f"is {media_type!r}; send one of {known}")
    if not data:
        raise violation(f"{where}.source.data", "is empty")
    if len(data) > kind.most_bytes:
        raise violation(
            f"{where}.source.data", f"has {len(data)} bytes; send at most {kind.most_bytes}"
        )
    if policy.validate and not fits_signature(media_type, data):
        raise violation(f"{where}.source.data", f"does not begin as {media_type} does")
    if isinstance(block, ImageBlock):
        return _admitted_image(where, media_type, data, policy)
    return media_type, data


def _admitted_image(
    where: str, media_type: str, data: bytes, policy: IntakePolicy
) -> tuple[str, bytes]:
    try:
        seen = images.look(data)
        over = seen.is_large or len(data) >= ADVISED_BYTES
        if over and policy.shrink:
            smaller, its_type = images.shrunk(data)
            return its_type, smaller
        if policy.validate:
            images.verify(data)
    except images.TooManyPixels as bomb:
        raise violation(f"{where}.source.data", str(bomb)) from bomb
    except BadImage as error:
        if not policy.validate:
            return media_type, data  # whoever looks at it next will say
        raise violation(f"{where}.source.data", str(error)) from error
    if over and policy.validate:
        raise violation(
            f"{where}.source.data",
            f"is {seen.width} x {seen.height} pixels and {len(data)} bytes; send an image whose"
            f" edges are below {ADVISED_EDGE} pixels and that has less than {ADVISED_BYTES} bytes,"
            " or set MEDIA_IMAGE_RESIZE_ENABLED=true",
        )
    return seen.media_type, data


def violation(field: str, what: str) -> SchemaViolation:
    """A refusal that names the block."""
    return SchemaViolation(f"{field}: {what}", {"field": field})
