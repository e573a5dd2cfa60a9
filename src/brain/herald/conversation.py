"""The neutral conversation: what every provider adapter translates from and to.

Stored transcripts are these structs as JSON, so a task may change its provider between turns.
Block names follow the contract, section 12.
"""

from typing import Literal, TypeAlias

from msgspec import Struct

from ..channels.events import JsonObject


class TextBlock(Struct, frozen=True, tag="text", tag_field="type"):
    """Plain text."""

    text: str


class ThinkingBlock(Struct, frozen=True, tag="thinking", tag_field="type", omit_defaults=True):
    """Extended thinking. `signature` is the provider's proof and only valid for `provider`.

    `redacted` carries a provider's encrypted thinking in place of `text`.
    """

    text: str
    provider: str = ""
    signature: str = ""
    redacted: str = ""


class ToolUseBlock(Struct, frozen=True, tag="tool_use", tag_field="type", omit_defaults=True):
    """A tool call. `signature` is Gemini's thought signature (base64), only valid there."""

    id: str
    name: str
    input: JsonObject
    signature: str = ""


class ToolResultBlock(Struct, frozen=True, tag="tool_result", tag_field="type", omit_defaults=True):
    """The answer to the tool call `tool_use_id`."""

    tool_use_id: str
    name: str
    content: str
    is_error: bool = False


class Base64Source(Struct, frozen=True, tag="base64", tag_field="type"):
    """Media carried in the message; `data` is standard base64."""

    media_type: str
    data: str


class UrlSource(Struct, frozen=True, tag="url", tag_field="type"):
    """Media that stands on the web."""

    url: str


class StoredSource(Struct, frozen=True, tag="stored", tag_field="type", omit_defaults=True):
    """Media that the brain holds under `media_id`: what transcripts have. `size` is in bytes."""

    media_id: str
    media_type: str = ""
    size: int = 0


Source: TypeAlias = Base64Source | UrlSource | StoredSource


class ImageBlock(Struct, frozen=True, tag="image", tag_field="type"):
    """An image (PNG, JPEG, WebP or GIF)."""

    source: Source


class DocumentBlock(Struct, frozen=True, tag="document", tag_field="type", omit_defaults=True):
    """A PDF document; `name` is what a person calls it."""

    source: Source
    name: str = ""


class AudioBlock(Struct, frozen=True, tag="audio", tag_field="type"):
    """A sound recording (WAV, MP3, FLAC, OGG, AAC or AIFF)."""

    source: Source


class VideoBlock(Struct, frozen=True, tag="video", tag_field="type"):
    """A film (MP4, MPEG, QuickTime, WebM, AVI or 3GPP)."""

    source: Source


MediaBlock: TypeAlias = ImageBlock | DocumentBlock | AudioBlock | VideoBlock
"""What may be attached to a message (contract, section 4.1)."""

Block: TypeAlias = TextBlock | ThinkingBlock | ToolUseBlock | ToolResultBlock | MediaBlock


class ChatMessage(Struct, frozen=True):
    """One message of a conversation. Tool results travel in a `user` message."""

    role: Literal["user", "assistant"]
    blocks: tuple[Block, ...]


class ToolDef(Struct, frozen=True):
    """A tool as the model sees it; `input_schema` is JSON Schema of an object."""

    name: str
    description: str
    input_schema: JsonObject


class SystemPart(Struct, frozen=True):
    """A section of the system prompt; a cache breakpoint may stand after it."""

    text: str
    cache: bool = False


class ModelRequest(Struct, frozen=True, kw_only=True):
    """One model call. `max_tokens` bounds the output; `thinking` asks for extended thinking.

    `response_schema` (JSON Schema) asks for provider-native structured output.
    `cache` allows prompt caching (breakpoints after tools, system parts and the last message).
    """

    model: str
    system: tuple[SystemPart, ...]
    messages: tuple[ChatMessage, ...]
    tools: tuple[ToolDef, ...] = ()
    max_tokens: int = 4096
    thinking: bool = False
    response_schema: JsonObject | None = None
    cache: bool = True


class TokenUsage(Struct, frozen=True, kw_only=True):
    """Tokens of one call, normalised: input_tokens counts everything read, cached or not."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_hit_tokens: int = 0
    cache_write_tokens: int = 0


BlockType: TypeAlias = Literal["text", "thinking", "tool_use"]
StopReason: TypeAlias = Literal["end_turn", "tool_use", "max_tokens", "refusal"]


class BlockStarted(Struct, frozen=True):
    """A content block begins; `index` counts from 0 within the message."""

    index: int
    block_type: BlockType


class TextPiece(Struct, frozen=True):
    """A piece of a text block."""

    text: str


class ThinkingPiece(Struct, frozen=True):
    """A piece of a thinking block."""

    text: str


class BlockStopped(Struct, frozen=True):
    """A content block is whole."""

    index: int
    block_type: BlockType


class Finished(Struct, frozen=True):
    """The message is whole: always the last piece of a stream that was not cut."""

    message: ChatMessage
    stop_reason: StopReason
    usage: TokenUsage
    model: str
    """The model that answered, as the provider names it."""


Piece: TypeAlias = BlockStarted | TextPiece | ThinkingPiece | BlockStopped | Finished
