"""The assistant message while it streams in: blocks that open, grow, close, and the result."""

from uuid import uuid4

from msgspec import Struct, field

from ..channels.events import JsonObject
from .arguments import parse_arguments
from .conversation import (
    Block,
    BlockStarted,
    BlockStopped,
    BlockType,
    ChatMessage,
    Finished,
    StopReason,
    TextBlock,
    ThinkingBlock,
    TokenUsage,
    ToolUseBlock,
)
from .naming import ToolNames


class Draft(Struct):
    """A block under construction. `text` holds a tool call's arguments as JSON fragments.

    `given` are arguments that came whole, as an object; fragments win over them.
    """

    index: int
    block_type: BlockType
    text: list[str] = field(default_factory=list[str])
    id: str = ""
    name: str = ""
    signature: str = ""
    redacted: str = ""
    given: JsonObject = field(default_factory=dict[str, object])
    open: bool = True


class Assembly:
    """Collects one assistant message of `provider`; tool names come back as our own."""

    def __init__(self, provider: str, names: ToolNames) -> None:
        self._provider = provider
        self._names = names
        self._drafts: list[Draft] = []

    def start(self, block_type: BlockType) -> tuple[Draft, BlockStarted]:
        """Open the next block of the message."""
        draft = Draft(len(self._drafts), block_type)
        self._drafts.append(draft)
        return draft, BlockStarted(draft.index, block_type)

    def stop(self, draft: Draft) -> BlockStopped:
        """Close a block."""
        draft.open = False
        return BlockStopped(draft.index, draft.block_type)

    def stop_all(self) -> list[BlockStopped]:
        """Close what is still open, in order."""
        return [self.stop(draft) for draft in self._drafts if draft.open]

    def last_open(self, block_type: BlockType) -> Draft | None:
        """The newest block, if it is open and of this type."""
        if self._drafts and self._drafts[-1].open and self._drafts[-1].block_type == block_type:
            return self._drafts[-1]
        return None

    @property
    def calls_tools(self) -> bool:
        """Whether the message asks for a tool."""
        return any(draft.block_type == "tool_use" for draft in self._drafts)

    def finished(self, stop_reason: StopReason, usage: TokenUsage, model: str) -> Finished:
        """The whole message; blocks that stayed empty are left out."""
        blocks = tuple(block for draft in self._drafts if (block := self._block(draft)))
        reason = "tool_use" if self.calls_tools and stop_reason == "end_turn" else stop_reason
        return Finished(ChatMessage("assistant", blocks), reason, usage, model)

    def _block(self, draft: Draft) -> Block | None:
        text = "".join(draft.text)
        match draft.block_type:
            case "text":
                return TextBlock(text) if text else None
            case "thinking":
                proof = draft.signature or draft.redacted
                block = ThinkingBlock(text, self._provider, draft.signature, draft.redacted)
                return block if text or proof else None
            case "tool_use":
                arguments = parse_arguments(text) if text else draft.given
                call_id = draft.id or f"call_{uuid4().hex[:24]}"
                name = self._names.own(draft.name)
                return ToolUseBlock(call_id, name, arguments, draft.signature)
