"""The chunks of a chat completion's stream, as far as the Engine reads them.

https://platform.openai.com/docs/api-reference/chat-streaming, and the fields that compatible
servers add. What a chunk lacks, or has as null, is None; an unknown field changes nothing.
"""

import msgspec
from msgspec import Struct


class Function(Struct):
    """A part of a call: the name comes first, the arguments in fragments."""

    name: str | None = None
    arguments: str | None = None


class CallFragment(Struct):
    """A part of a tool call."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Delta(Struct):
    """What the message grows by. `reasoning*` are compatible servers' names for thinking."""

    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[CallFragment] | None = None


class Choice(Struct):
    """The only choice."""

    delta: Delta | None = None
    finish_reason: str | None = None


class PromptDetails(Struct):
    """Where the prompt's tokens came from."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class Usage(Struct):
    """Tokens of the whole call; DeepSeek counts the cached ones in a field of its own."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    prompt_cache_hit_tokens: int | None = None


class Chunk(Struct):
    """One chunk of the stream."""

    model: str | None = None
    choices: list[Choice] | None = None
    usage: Usage | None = None


decode = msgspec.json.Decoder(Chunk, strict=False).decode
"""Reads the data of one event. Raises msgspec.DecodeError."""
