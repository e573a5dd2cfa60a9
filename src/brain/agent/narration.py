"""Telling the client what the model says, piece by piece, without its secrets."""

from msgspec import Struct

from ...errors import SeptemberError
from ..channels.channel import Channel
from ..channels.events import (
    ContentBlockStart,
    ContentBlockStop,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    Usage,
)
from ..herald.conversation import (
    BlockStarted,
    BlockStopped,
    TextPiece,
    ThinkingPiece,
    ToolUseBlock,
)
from ..herald.model_stream import Completed, ModelPiece
from ..security.secrets import SecretScrubber


class Told(Struct, frozen=True):
    """A model message that was told to its end, and the tool calls in it."""

    completed: Completed
    calls: tuple[ToolUseBlock, ...]


class Narrator:
    """Turns the pieces of one model message into events of the turn."""

    def __init__(self, channel: Channel, scrubber: SecretScrubber) -> None:
        self._channel = channel
        self._scrubber = scrubber
        self._stream = scrubber.stream()
        self._completed: Completed | None = None

    async def tell(self, piece: ModelPiece) -> None:
        """Pass one piece on; text waits only while it could be the start of a secret."""
        match piece:
            case TextPiece(text):
                await self._say(TextDelta, self._stream.feed(text))
            case ThinkingPiece(text):
                await self._say(ThinkingDelta, self._stream.feed(text))
            case BlockStarted(index, kind):
                await self._channel.emit(ContentBlockStart(block_index=index, block_type=kind))
            case BlockStopped(index, kind):
                await self._rest(kind == "thinking")
                await self._channel.emit(ContentBlockStop(block_index=index, block_type=kind))
            case Completed():
                self._completed = piece

    async def _rest(self, thinking: bool) -> None:
        await self._say(ThinkingDelta if thinking else TextDelta, self._stream.flush())
        self._stream = self._scrubber.stream()

    async def _say(self, kind: type[TextDelta] | type[ThinkingDelta], text: str) -> None:
        if text:
            await self._channel.emit(kind(text=text))

    def told(self) -> Told:
        """The whole message. Raises LLM_PROVIDER_ERROR when the stream never finished."""
        if self._completed is None:
            raise SeptemberError("LLM_PROVIDER_ERROR", "the model's answer ended before its end")
        blocks = self._completed.message.blocks
        return Told(self._completed, tuple(b for b in blocks if isinstance(b, ToolUseBlock)))


def usage_event(call: Completed) -> Usage:
    """What the call cost."""
    return Usage(
        input_tokens=call.usage.input_tokens,
        output_tokens=call.usage.output_tokens,
        cache_hit_tokens=call.usage.cache_hit_tokens,
        cache_write_tokens=call.usage.cache_write_tokens,
        provider=call.provider,
        model=call.model,
        cost_usd=call.cost_usd,
    )


def call_events(calls: tuple[ToolUseBlock, ...], scrubber: SecretScrubber) -> tuple[ToolCall, ...]:
    """The tool calls as the client sees them."""
    return tuple(
        ToolCall(tool=call.name, tool_call_id=call.id, input=scrubber.scrub_json(call.input))
        for call in calls
    )
