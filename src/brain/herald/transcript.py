"""Makes a stored conversation one that a provider will accept, whoever wrote it.

A transcript may come from another provider, or from a turn that was cut between a tool call and
its result. All providers refuse a call without a result, a result without a call, an empty
message and a conversation that does not begin and end with the user, and refuse it for ever:
what is stored must not be able to poison the next call.
"""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from .conversation import (
    Block,
    ChatMessage,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from .naming import wire_id

_OPENING = TextBlock("(The earlier conversation was left out.)")
_CONTINUE = TextBlock("Continue.")
_NO_RESULT = "The call was interrupted before it gave a result."
_NO_OUTPUT = "(no output)"


def repaired(
    messages: Iterable[ChatMessage], provider: str, *, may_end_thinking: bool = True
) -> list[ChatMessage]:
    """The conversation as `provider` will accept it; a valid one only loses foreign thinking.

    Answers messages of alternating roles, first and last from the user, none empty. Every tool
    call has a unique id and its result at the head of the next message, in call order.
    `may_end_thinking` False strips thinking from the end of the assistant's messages.
    """
    cleaned = [_cleaned(message, provider, may_end_thinking) for message in messages]
    return _bounded(_merged(_paired(_merged(cleaned))))


def _cleaned(message: ChatMessage, provider: str, may_end_thinking: bool) -> ChatMessage:
    kept = [block for block in message.blocks if _belongs(block, message.role, provider)]
    while kept and not may_end_thinking and isinstance(kept[-1], ThinkingBlock):
        kept.pop()
    if all(isinstance(block, ThinkingBlock) for block in kept):
        kept.clear()
    return ChatMessage(message.role, tuple(kept))


def _belongs(block: Block, role: str, provider: str) -> bool:
    match block:
        case TextBlock(text):
            return bool(text.strip())
        case ThinkingBlock():
            return role == "assistant" and block.provider == provider
        case ToolUseBlock():
            return role == "assistant"
        case _:  # results and media
            return role == "user"


def _merged(messages: Iterable[ChatMessage]) -> list[ChatMessage]:
    """Neighbours of one role joined; messages without blocks left out."""
    merged: list[ChatMessage] = []
    for message in messages:
        if merged and merged[-1].role == message.role:
            merged[-1] = ChatMessage(message.role, merged[-1].blocks + message.blocks)
        elif message.blocks:
            merged.append(message)
    return merged


def _paired(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Each call's result right behind it: invented where missing, dropped where nobody asked."""
    paired: list[ChatMessage] = []
    taken: set[str] = set()
    calls: list[tuple[str, ToolUseBlock]] = []
    for message in messages:
        if message.role == "user":
            paired.append(_answering(message, calls))
            calls = []
            continue
        if calls:
            paired.append(_answering(ChatMessage("user", ()), calls))
        calls = [
            (block.id, replace(block, id=_unique(wire_id(block.id), taken)))
            for block in message.blocks
            if isinstance(block, ToolUseBlock)
        ]
        paired.append(_renamed(message, [call for _, call in calls]))
    if calls:
        paired.append(_answering(ChatMessage("user", ()), calls))
    return paired


def _renamed(message: ChatMessage, calls: Sequence[ToolUseBlock]) -> ChatMessage:
    fresh = iter(calls)
    return ChatMessage(
        message.role,
        tuple(
            next(fresh) if isinstance(block, ToolUseBlock) else block for block in message.blocks
        ),
    )


def _answering(message: ChatMessage, calls: Sequence[tuple[str, ToolUseBlock]]) -> ChatMessage:
    """`message` with one result per call at its head; `calls` pairs stored ids with new calls."""
    given: dict[str, list[ToolResultBlock]] = {}
    for block in message.blocks:
        if isinstance(block, ToolResultBlock):
            given.setdefault(block.tool_use_id, []).append(block)
    results = [_result(call, given.get(stored, [])) for stored, call in calls]
    others = [block for block in message.blocks if not isinstance(block, ToolResultBlock)]
    return ChatMessage("user", (*results, *others))


def _result(call: ToolUseBlock, given: list[ToolResultBlock]) -> ToolResultBlock:
    if not given:
        return ToolResultBlock(call.id, call.name, _NO_RESULT, is_error=True)
    result = given.pop(0)
    content = result.content if result.content.strip() else _NO_OUTPUT
    return ToolResultBlock(call.id, call.name, content, result.is_error)


def _unique(call_id: str, taken: set[str]) -> str:
    fresh, count = call_id, 1
    while fresh in taken:
        count += 1
        fresh = f"{call_id[:34]}-{count}"
    taken.add(fresh)
    return fresh


def _bounded(messages: list[ChatMessage]) -> list[ChatMessage]:
    """The conversation begun and ended by the user."""
    if messages and messages[0].role == "assistant":
        messages.insert(0, ChatMessage("user", (_OPENING,)))
    if not messages or messages[-1].role == "assistant":
        messages.append(ChatMessage("user", (_CONTINUE,)))
    return messages
