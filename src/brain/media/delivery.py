"""Media on their way out: loaded, turned into text or left out, for the provider at hand."""

from base64 import b64decode, b64encode
from collections import OrderedDict
from functools import partial
from typing import Final

import trio
from msgspec import Struct
from msgspec.structs import replace

from ..herald.attachments import CARRIES, LeftOut, Prepared, in_place_of, kind_of
from ..herald.conversation import (
    Base64Source,
    Block,
    ChatMessage,
    DocumentBlock,
    ImageBlock,
    MediaBlock,
    ModelRequest,
    StoredSource,
    TextBlock,
    UrlSource,
)
from ..store.database import Database
from ..web.fetch import Fetcher, FetchLimits, FetchRefused
from . import images, rows
from .blame import blamed, media_in
from .images import BadImage
from .kinds import KINDS, normal
from .library import Library
from .rows import StoredMedia

SHOWN_CHARACTERS: Final = 200_000
"""Most characters of a document's text that are put into the conversation as a whole."""

INGESTED_CHARACTERS: Final = 20_000
"""Characters above which a document is read through the tool, with CONTENT_INGESTION_ENABLED."""

_FETCH: Final = FetchLimits(20.0, KINDS[ImageBlock].most_bytes)
_FETCHED_KEPT: Final = 8


class DeliveryPolicy(Struct, frozen=True):
    """The flags: big documents are read through the tool, refused media are left out."""

    ingest: bool = False
    recover: bool = False


class _Unfit(Exception):
    """Why a block stays behind."""


class Delivery:
    """Implements `herald.attachments.Attachments` on the brain."""

    def __init__(
        self, database: Database, library: Library, fetcher: Fetcher, policy: DeliveryPolicy
    ) -> None:
        self._database = database
        self._library = library
        self._fetcher = fetcher
        self._policy = policy
        self._fetched: OrderedDict[str, Base64Source] = OrderedDict()
        self._refused_urls: dict[tuple[str, str], str] = {}

    async def prepare(self, request: ModelRequest, provider: str) -> Prepared:
        """The request with its media as `provider` takes them."""
        if provider not in CARRIES or next(media_in(request), None) is None:
            return Prepared(request)
        left_out: list[LeftOut] = []
        messages = [
            await self._message(message, provider, left_out) for message in request.messages
        ]
        return Prepared(replace(request, messages=tuple(messages)), tuple(left_out))

    async def refused(self, request: ModelRequest, provider: str, reason: str) -> bool:
        """Note the media to blame; False when none is, or MEDIA_ERROR_RECOVERY_ENABLED is off."""
        if not self._policy.recover or next(media_in(request), None) is None:
            return False
        prepared = await self.prepare(request, provider)
        chosen = await trio.to_thread.run_sync(blamed, prepared.request, provider, reason)
        named = [media for place, media in media_in(request) if place in chosen]
        stored = [one.source.media_id for one in named if isinstance(one.source, StoredSource)]
        await self._database.write(
            partial(rows.refuse, media_ids=stored, provider=provider, reason=reason[:300])
        )
        for one in named:
            if isinstance(one.source, UrlSource):
                self._refused_urls[provider, one.source.url] = reason[:300]
        return bool(named)

    async def _message(
        self, message: ChatMessage, provider: str, left_out: list[LeftOut]
    ) -> ChatMessage:
        if not any(isinstance(block, MediaBlock) for block in message.blocks):
            return message
        blocks: list[Block] = []
        for block in message.blocks:
            if not isinstance(block, MediaBlock):
                blocks.append(block)
                continue
            try:
                blocks.append(await self._delivered(block, provider))
            except _Unfit as unfit:
                left_out.append(LeftOut(_name(block), kind_of(block), str(unfit)))
                blocks.append(in_place_of(block, str(unfit)))
        return ChatMessage(message.role, tuple(blocks))

    async def _delivered(self, block: MediaBlock, provider: str) -> Block:
        match block.source:
            case StoredSource(media_id):
                known = await self._database.read(partial(rows.find, media_id=media_id))
                if known is None:
                    raise _Unfit("it is no longer there")
                return await self._stored(block, known, provider)
            case UrlSource(url):
                return await self._linked(block, url, provider)
            case source:
                _check_carried(block, normal(source.media_type), provider)
                return block

    async def _stored(self, block: MediaBlock, known: StoredMedia, provider: str) -> Block:
        if provider in known.refused:
            raise _Unfit(f"{provider} refused it: {known.refused[provider]}")
        if isinstance(block, DocumentBlock):
            text = await self._document(block, known, provider)
            if text is not None:
                return text
        gif = known.media_type == "image/gif" and known.media_type not in CARRIES[provider].types
        media_type = "image/png" if gif else known.media_type
        _check_carried(block, media_type, provider)
        data = await self._database.read(partial(rows.data_of, media_id=known.media_id))
        if data is None:
            raise _Unfit("it is no longer there")
        return await trio.to_thread.run_sync(_loaded, block, media_type, data, gif)

    async def _document(
        self, block: DocumentBlock, known: StoredMedia, provider: str
    ) -> Block | None:
        """The document as text; None where it goes as it is."""
        native = known.media_type in CARRIES[provider].types
        if native and not self._policy.ingest:
            return None
        known = await self._library.read_in(known)
        chunks, characters = await self._library.measure(known)
        if not chunks:
            if native:
                return None
            raise _Unfit(known.problem or "it holds no text, only pictures")
        big = self._policy.ingest and characters > INGESTED_CHARACTERS
        if native and not big:
            return None
        if big:
            return TextBlock(_pointer(block, known, chunks, characters))
        text = await self._library.whole(known, SHOWN_CHARACTERS)
        missing = [known.problem] if known.problem else []
        if characters > SHOWN_CHARACTERS:
            missing.append(f"only its first {SHOWN_CHARACTERS:,} characters are shown")
        note = f" ({'; '.join(missing)})" if missing else ""
        return TextBlock(f"[{_title(block)}, {known.pages} pages, as text{note}]\n{text}")

    async def _linked(self, block: MediaBlock, url: str, provider: str) -> Block:
        """Media on the web: their address where the provider takes it, else what stands there."""
        refusal = self._refused_urls.get((provider, url))
        if refusal is not None:
            raise _Unfit(f"{provider} refused it: {refusal}")
        if CARRIES[provider].takes(block, ""):
            return block
        source = self._fetched.get(url) or await self._fetch(url)
        self._fetched[url] = source
        if len(self._fetched) > _FETCHED_KEPT:
            self._fetched.popitem(last=False)
        if source.media_type == "image/gif" and "image/gif" not in CARRIES[provider].types:
            data = b64decode(source.data)
            return await trio.to_thread.run_sync(_loaded, block, "image/png", data, True)
        _check_carried(block, source.media_type, provider)
        return replace(block, source=source)

    async def _fetch(self, url: str) -> Base64Source:
        try:
            found = await self._fetcher.fetch(url, _FETCH)
        except FetchRefused as refusal:
            raise _Unfit(str(refusal)) from refusal
        if found.status != 200:
            raise _Unfit(f"{url} answered {found.status}")
        return Base64Source(normal(found.media_type), b64encode(found.body).decode())


def _check_carried(block: MediaBlock, media_type: str, provider: str) -> None:
    if media_type not in CARRIES[provider].types:
        raise _Unfit(f"models of {provider} take no {media_type or kind_of(block)} here")


def _loaded(block: MediaBlock, media_type: str, data: bytes, redraw: bool) -> MediaBlock:
    try:
        data = images.as_png(data) if redraw else data
    except BadImage as error:
        raise _Unfit(str(error)) from error
    return replace(block, source=Base64Source(media_type, b64encode(data).decode()))


def _pointer(block: DocumentBlock, known: StoredMedia, chunks: int, characters: int) -> str:
    """What stands in the conversation for a document that is read through the tool."""
    problem = f"; {known.problem}" if known.problem else ""
    return (
        f"[{_title(block)} is attached: {known.pages} pages, {characters:,} characters in {chunks}"
        f" parts{problem}. It is too long to be shown here. Search and read it with"
        f' read_attachment, media_id "{known.media_id}".]'
    )


def _title(block: DocumentBlock) -> str:
    return f"Document {block.name!r}" if block.name else "A document"


def _name(block: MediaBlock) -> str:
    match block.source:
        case StoredSource(media_id):
            return media_id
        case UrlSource(url):
            return url
        case _:
            return ""
