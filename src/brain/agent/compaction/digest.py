"""A summary without a model: what was told, word for word, and how the talk went, line by line.

It stands in where no model answers. What people stated (`told`) goes into every summary, so that
no model can lose it, and from each summary into the next.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from ...herald.conversation import ChatMessage, TextBlock, ToolUseBlock
from ...learning.statements import statements
from ..transcript import StoredMessage
from .condensed import asks

TOLD: Final = "- Told: "
"""How a line begins that holds a person's own words."""

TOLD_SHARE: Final = 0.5
"""The part of a summary that what was told may take."""

_LINE: Final = 160
"""Characters of a message that its line holds."""


def digest(before: str, gone: Sequence[StoredMessage], characters: int) -> str:
    """A summary of `gone` after the summary `before`, of at most `characters`."""
    facts = told(before, gone, int(characters * TOLD_SHARE))
    talk = [line for line in before.splitlines() if line and not line.startswith(TOLD)]
    talk += [line for entry in gone for line in _talk(entry.message)]
    return joined(_newest(talk, characters - len(facts)), facts)


def told(before: str, gone: Sequence[StoredMessage], characters: int) -> str:
    """What people stated, as lines; where there is no room for all, the newest."""
    lines = [line for line in before.splitlines() if line.startswith(TOLD)]
    for entry in gone:
        if asks(entry.message):
            lines += [TOLD + stated.sentence for stated in statements(text_of(entry.message))]
    return _newest(list(dict.fromkeys(lines)), characters)


def prose(summary: str) -> str:
    """A summary without what was told."""
    lines = (line for line in summary.splitlines() if not line.startswith(TOLD))
    return "\n".join(lines).strip()


def joined(*parts: str) -> str:
    """Parts of a summary as one."""
    return "\n".join(part for part in parts if part)


def text_of(message: ChatMessage) -> str:
    """The text of a message."""
    return "\n".join(block.text for block in message.blocks if isinstance(block, TextBlock))


def _talk(message: ChatMessage) -> Iterable[str]:
    text = " ".join(text_of(message).split())
    if text:
        who = "User" if message.role == "user" else "Assistant"
        yield f"- {who}: {text[:_LINE]}{'…' if len(text) > _LINE else ''}"
    calls = [block.name for block in message.blocks if isinstance(block, ToolUseBlock)]
    if calls:
        yield f"- Assistant used {', '.join(calls)}"


def _newest(lines: Sequence[str], characters: int) -> str:
    """The last lines that fit, in their order."""
    kept: list[str] = []
    for line in reversed(lines):
        characters -= len(line) + 1
        if characters < 0:
            break
        kept.append(line)
    return "\n".join(reversed(kept))
