"""Tool names and call ids on a provider's wire, and back.

Own names may hold dots (`slack.send_message`); what Anthropic, OpenAI and Gemini all accept is
`[a-zA-Z_][a-zA-Z0-9_-]{0,63}`. Ids made by one provider must pass the strictest pattern and
length of the others (Anthropic: `[a-zA-Z0-9_-]+`; OpenAI: 40 characters).
"""

import re
from collections.abc import Iterable
from hashlib import sha256

from .conversation import ModelRequest, ToolUseBlock

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}")
_ID = re.compile(r"[a-zA-Z0-9_-]{1,40}")
_NOT_ALLOWED = re.compile(r"[^a-zA-Z0-9_-]")
_LENGTH = 64


class ToolNames:
    """A reversible mapping of one request's tool names; the same names map the same way."""

    def __init__(self, names: Iterable[str]) -> None:
        self._own: dict[str, str] = {}
        self._wire: dict[str, str] = {}
        for name in sorted(set(names), key=lambda name: (_NAME.fullmatch(name) is None, name)):
            wire = _wire_name(name)
            if wire in self._own:
                wire = _hashed(wire, name)
            self._own[wire] = name
            self._wire[name] = wire

    @classmethod
    def of(cls, request: ModelRequest) -> "ToolNames":
        """The names a request offers and those its conversation already used."""
        used = (
            block.name
            for message in request.messages
            for block in message.blocks
            if isinstance(block, ToolUseBlock)
        )
        return cls([*(tool.name for tool in request.tools), *used])

    def all(self) -> list[str]:
        """Every name, in an order that does not depend on where it was found."""
        return sorted(self._wire)

    def wire(self, name: str) -> str:
        """The name as the provider may see it."""
        return self._wire.get(name) or _wire_name(name)

    def own(self, wire: str) -> str:
        """The tool's own name; a name the model invented comes back as it is."""
        return self._own.get(wire, wire)


def wire_id(call_id: str) -> str:
    """A call id every provider accepts; the same id always gives the same answer."""
    if _ID.fullmatch(call_id):
        return call_id
    return "call_" + sha256(call_id.encode()).hexdigest()[:24]


def _wire_name(name: str) -> str:
    if _NAME.fullmatch(name):
        return name
    dotless = name.replace(".", "__")
    if _NAME.fullmatch(dotless):
        return dotless
    return _hashed("_" + _NOT_ALLOWED.sub("_", dotless), name)


def _hashed(stem: str, name: str) -> str:
    return f"{stem[: _LENGTH - 9]}_{sha256(name.encode()).hexdigest()[:8]}"
