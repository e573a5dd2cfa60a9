"""The events of Anthropic's Messages stream, as far as the Engine reads them.

https://docs.anthropic.com/en/api/messages-streaming. One struct stands for every event, with what
only some of them have left out: an event or a field that is not known yet changes nothing.
"""

import msgspec
from msgspec import Struct

from ..channels.events import JsonObject


class Usage(Struct):
    """Cumulative counts of tokens; those of the cache are beside `input_tokens`, not in it."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class Delta(Struct):
    """What a block grows by, or how the message stopped."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class ContentBlock(Struct):
    """A block as it begins."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    data: str = ""
    id: str = ""
    name: str = ""
    input: JsonObject | None = None


class Message(Struct):
    """The message as it begins, without its blocks."""

    model: str | None = None
    usage: Usage | None = None


class StreamEvent(Struct):
    """One event of the stream."""

    type: str = ""
    index: int = 0
    delta: Delta = msgspec.field(default_factory=Delta)
    content_block: ContentBlock = msgspec.field(default_factory=ContentBlock)
    message: Message = msgspec.field(default_factory=Message)
    usage: Usage | None = None


decode = msgspec.json.Decoder(StreamEvent, strict=False).decode
"""Reads the data of one event. Raises msgspec.DecodeError."""
