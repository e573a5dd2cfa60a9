"""The Engine's own adapter in front of each peer, and requests to try it with."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

from september.brain.herald.anthropic import AnthropicProvider
from september.brain.herald.conversation import (
    Block,
    ChatMessage,
    Finished,
    ModelRequest,
    Piece,
    TextBlock,
    ToolDef,
    ToolResultBlock,
    ToolUseBlock,
)
from september.brain.herald.gemini import GeminiProvider
from september.brain.herald.openai import OpenAIProvider
from september.brain.herald.provider import Provider
from september.brain.herald.sdk import Timeouts
from september.config import Secret

from . import Peer, Script, provider_peer

B = TypeVar("B")

PROVIDERS = ("anthropic", "openai", "gemini")
MODELS = {"anthropic": "claude-sonnet-5", "openai": "gpt-6", "gemini": "gemini-3.8-flash"}


class AdapterClass(Protocol):
    """How an adapter is made."""

    def __call__(
        self, key: Secret, *, base_url: str = ..., timeouts: Timeouts | None = ...
    ) -> Provider:
        """A provider with this key."""
        ...


ADAPTERS: dict[str, AdapterClass] = {
    "anthropic": AnthropicProvider,
    "openai": OpenAIProvider,
    "gemini": GeminiProvider,
}


@asynccontextmanager
async def adapter(
    name: str, script: Script, *, idle: float = 5.0, key: str = ""
) -> AsyncGenerator[tuple[Provider, Peer]]:
    """The adapter `name`, connected to a peer that plays `script`."""
    async with provider_peer(name, script) as peer:
        secret = Secret(key or peer.key)
        timeouts = Timeouts(connect=5.0, idle=idle)
        provider = ADAPTERS[name](secret, base_url=peer.base_url, timeouts=timeouts)
        try:
            yield provider, peer
        finally:
            await provider.aclose()


def user(*blocks: Block | str) -> ChatMessage:
    """A user message; a string is a text block."""
    return ChatMessage("user", tuple(map(_block, blocks)))


def assistant(*blocks: Block | str) -> ChatMessage:
    """An assistant message; a string is a text block."""
    return ChatMessage("assistant", tuple(map(_block, blocks)))


def _block(block: Block | str) -> Block:
    return TextBlock(block) if isinstance(block, str) else block


CLOCK = ToolDef("clock", "Tell the time", {"type": "object", "properties": {}})
SEND = ToolDef(
    "slack.send_message",
    "Send a message",
    {
        "type": "object",
        "properties": {"channel": {"type": "string"}, "text": {"type": "string"}},
        "required": ["channel"],
        "additionalProperties": False,
    },
)


def ask(name: str, *messages: ChatMessage, **fields: Any) -> ModelRequest:
    """A request to `name`'s model; without messages it says hello."""
    fields = {"model": MODELS[name], "system": (), **fields}
    return ModelRequest(messages=messages or (user("hello"),), **fields)


async def collect(provider: Provider, request: ModelRequest) -> list[Piece]:
    """All pieces of one call."""
    async with provider.stream(request) as pieces:
        return [piece async for piece in pieces]


async def finish(provider: Provider, request: ModelRequest) -> Finished:
    """The end of one call."""
    last = (await collect(provider, request))[-1]
    assert isinstance(last, Finished)
    return last


def calls(message: ChatMessage) -> list[ToolUseBlock]:
    """The tool calls of a message."""
    return [block for block in message.blocks if isinstance(block, ToolUseBlock)]


def results(message: ChatMessage, *outputs: str, is_error: bool = False) -> ChatMessage:
    """The user message that answers the calls of `message` in order."""
    answered = zip(calls(message), outputs, strict=True)
    return user(
        *(ToolResultBlock(call.id, call.name, output, is_error) for call, output in answered)
    )
