"""A plan keeps what must be kept, never splits a call from its result, and makes things fit."""

from random import Random

import pytest

from september.brain.agent.compaction.condensed import WHOLE, Condensed, asks, collapsed, shown
from september.brain.agent.compaction.plan import Plan, Room, plan
from september.brain.agent.compaction.sizing import Scale, message_size, messages_size
from september.brain.agent.transcript import StoredMessage
from september.brain.herald.conversation import (
    ChatMessage,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)


def stored(*messages: ChatMessage) -> list[StoredMessage]:
    return [
        StoredMessage(seq, f"msg-{seq}", "turn", message, seq)
        for seq, message in enumerate(messages, 1)
    ]


def said(role: str, text: str) -> ChatMessage:
    return ChatMessage("user" if role == "user" else "assistant", (TextBlock(text),))


def called(number: int, size: int) -> tuple[ChatMessage, ChatMessage]:
    call = ToolUseBlock(f"call-{number}", "bash", {"command": "cat log"})
    result = ToolResultBlock(call.id, "bash", "x" * size)
    return ChatMessage("assistant", (call,)), ChatMessage("user", (result,))


def conversation(random: Random, turns: int, *, open_end: bool) -> list[StoredMessage]:
    """Turns of one to four steps; with `open_end` the last one waits for the model."""
    messages: list[ChatMessage] = []
    for number in range(turns):
        messages.append(said("user", "q" * random.randrange(5, 900)))
        for step in range(random.randrange(0, 4)):
            messages += called(number * 10 + step, random.randrange(10, 9000))
        messages.append(said("assistant", "a" * random.randrange(5, 900)))
    if open_end:
        messages.append(said("user", "and now?"))
        for step in range(random.randrange(0, 6)):
            messages += called(10_000 + step, random.randrange(10, 9000))
    return stored(*messages)


def applied(found: Plan, held: Condensed) -> Condensed:
    summary = "s" * 40 if found.gone else held.summary
    return Condensed(found.upto_seq, found.collapsed_seq, summary, "extract")


@pytest.mark.parametrize("seed", range(150))
def test_any_conversation_that_can_fit_is_made_to_fit_and_stays_valid(seed: int) -> None:
    random = Random(seed)
    entries = conversation(random, random.randrange(1, 30), open_end=True)
    limit = random.randrange(900, 12_000)
    room = Room(int(limit * 0.6), limit)
    held = WHOLE
    for _ in range(3):
        found = plan(entries, held, room)
        if found is None:
            assert held is not WHOLE or least(entries) + room.summary > room.limit
            return
        held = applied(found, held)
        messages = shown(entries, held)
        assert messages_size(messages) <= room.limit + 60  # the frame around the summary
        assert paired(messages)
        asked = next(entry for entry in reversed(entries) if asks(entry.message))
        assert asked.message in messages, "what is being answered is always shown"
        assert entries[-1].message in messages or collapsed(entries[-1].message) in messages


def least(entries: list[StoredMessage]) -> int:
    """What the question and the newest step take at least."""
    asked = max(n for n, entry in enumerate(entries) if asks(entry.message))
    steps = [n for n in range(asked, len(entries)) if entries[n].message.role == "assistant"]
    newest = entries[steps[-1] :] if steps else []
    return message_size(entries[asked].message) + sum(
        message_size(collapsed(entry.message)) for entry in newest
    )


def paired(messages: list[ChatMessage]) -> bool:
    """Whether each call has its result in the next message."""
    for message, following in zip(messages, [*messages[1:], None], strict=True):
        calls = [b.id for b in message.blocks if isinstance(b, ToolUseBlock)]
        after = following.blocks if following is not None else ()
        results = [b.tool_use_id for b in after if isinstance(b, ToolResultBlock)]
        if calls != results:
            return False
    return True


def test_results_are_collapsed_before_anything_is_summarised() -> None:
    entries = stored(
        said("user", "one"), *called(1, 40_000), said("assistant", "done"),
        said("user", "two"), *called(2, 400), said("assistant", "done"),
        said("user", "three"),
    )  # fmt: skip
    found = plan(entries, WHOLE, Room(3_000, 5_000))
    assert found is not None
    assert found == Plan(0, entries[3].seq)
    messages = shown(entries, applied(found, WHOLE))
    assert messages_size(messages) < 1_000
    assert messages[4:] == [entry.message for entry in entries[4:]], "the last turns stay whole"


def test_the_running_turn_gives_up_its_oldest_steps_last() -> None:
    steps = [message for n in range(12) for message in called(n, 3_000)]
    entries = stored(said("user", "go through all files"), *steps)
    found = plan(entries, WHOLE, Room(2_500, 3_500))
    assert found is not None
    messages = shown(entries, applied(found, WHOLE))
    assert messages_size(messages) <= 3_500
    assert entries[0].message in messages
    assert messages[-2:] == [entry.message for entry in entries[-2:]]


def test_nothing_helps_a_question_larger_than_the_window() -> None:
    entries = stored(said("user", "hello"), said("assistant", "hi"), said("user", "x" * 40_000))
    assert plan(entries, WHOLE, Room(2_000, 3_000)) is None


def test_the_scale_follows_what_the_provider_counts_within_reason() -> None:
    scale = Scale().learned(1000, 1300)
    assert scale.tokens(2000) == 2600
    assert scale.estimated(2600) == 2000
    assert scale.learned(1000, 0) == scale, "a provider that counts nothing teaches nothing"
    assert scale.learned(1000, 10**9).ratio == 8.0
    assert scale.at_least(1000, 5000).ratio == 5.0
