"""The demonstration script: it plays to the end, with the tools the Engine has."""

import tomllib

import pytest

from september.brain.herald.conversation import (
    ChatMessage,
    Finished,
    ModelRequest,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from september.brain.herald.scripted import ScriptedProvider, demonstration

FIELDS: dict[str, tuple[set[str], set[str]]] = {
    "read_file": ({"path"}, {"page"}),
    "write_file": ({"path", "content"}, set()),
    "grep": ({"pattern"}, {"path"}),
    "find": (set(), {"pattern"}),
    "bash": ({"command"}, {"timeout_s"}),
    "memory_episode_write": ({"key", "description", "value"}, set()),
    "knowledge_search": ({"query"}, set()),
    "working_memory_set": ({"key", "value"}, set()),
    "working_memory_get": (set(), {"key"}),
    "ask_user": ({"question"}, {"options"}),
}
"""Required and optional inputs of the Engine's tools."""


async def turn(text: str) -> list[ChatMessage]:
    """A whole turn; each tool answers with its own name."""
    actor = ScriptedProvider.from_file(None)
    messages = [ChatMessage("user", (TextBlock(text),))]
    while True:
        finished: object = None
        wanted = ModelRequest(model="m", system=(), messages=tuple(messages), thinking=True)
        async with actor.stream(wanted) as pieces:
            async for piece in pieces:
                finished = piece
        assert isinstance(finished, Finished)
        messages.append(finished.message)
        calls = [block for block in finished.message.blocks if isinstance(block, ToolUseBlock)]
        if not calls:
            return messages
        results = [ToolResultBlock(one.id, one.name, f"<{one.name}>\nmore") for one in calls]
        messages.append(ChatMessage("user", tuple(results)))


def calls_of(message: ChatMessage) -> list[ToolUseBlock]:
    return [block for block in message.blocks if isinstance(block, ToolUseBlock)]


async def test_the_tour_uses_the_tools_and_sums_up_what_they_said(
    autojump_clock: object,
) -> None:
    messages = await turn("Show me what you can do")
    calls = [call for message in messages for call in calls_of(message)]
    names = {call.name for call in calls}
    assert names >= {"working_memory_set", "memory_episode_write", "write_file", "read_file"}
    assert max(len(calls_of(message)) for message in messages) >= 3, "several tools at once"
    assert len({call.id for call in calls}) == len(calls)
    summary = messages[-1].blocks[-1]
    assert isinstance(summary, TextBlock)
    assert "<bash>" in summary.text
    assert "<read_file>" in summary.text


@pytest.mark.parametrize(
    "text", ["Show me what you can do", "Ask me something", "What do you remember?", "run: ls -l"]
)
async def test_every_tool_call_has_the_inputs_its_tool_takes(
    text: str, autojump_clock: object
) -> None:
    messages = await turn(text)
    calls = [call for message in messages for call in calls_of(message)]
    assert calls, "each of these does something"
    for call in calls:
        required, optional = FIELDS[call.name]
        assert required <= call.input.keys() <= required | optional


async def test_anything_else_gets_an_honest_answer_and_a_hint(autojump_clock: object) -> None:
    (_, message) = await turn("What is the meaning of life?")
    (block,) = message.blocks
    assert isinstance(block, TextBlock)
    assert "no language model" in block.text
    assert "Show me what you can do" in block.text


def test_every_rule_has_a_name() -> None:
    rules = tomllib.loads(demonstration().read_text())["rule"]
    assert all(rule.get("name") for rule in rules)
