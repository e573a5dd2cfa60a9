"""Which rule of a script fits a request, and what its placeholders stand for."""

import re
from collections.abc import Callable, Mapping
from typing import Final, cast

from msgspec import Struct

from ..channels.events import JsonObject
from .conversation import Block, ChatMessage, ModelRequest, TextBlock, ToolResultBlock
from .scripted_rules import PLACEHOLDER, Rule


class TurnView(Struct, frozen=True):
    """What rules see of a request: the last user text and what the turn did since.

    `step` counts the turn's model messages so far, `results` are the tool results in the last
    message and `earlier` all tool results of the turn, in order.
    """

    user: str
    system: str
    model: str
    step: int
    results: tuple[ToolResultBlock, ...]
    earlier: tuple[ToolResultBlock, ...]


def view_of(request: ModelRequest) -> TurnView:
    """Find where the turn began: at the last user message that is not tool results."""
    begin = max((n for n, message in enumerate(request.messages) if _asks(message)), default=0)
    turn = request.messages[begin:]
    last = turn[-1].blocks if len(turn) > 1 else ()
    return TurnView(
        user=last_text(turn[0]) if turn else "",
        system="\n".join(part.text for part in request.system),
        model=request.model,
        step=sum(message.role == "assistant" for message in turn),
        results=_results(last),
        earlier=tuple(block for message in turn for block in _results(message.blocks)),
    )


def _asks(message: ChatMessage) -> bool:
    return message.role == "user" and not _results(message.blocks)


def _results(blocks: tuple[Block, ...]) -> tuple[ToolResultBlock, ...]:
    return tuple(block for block in blocks if isinstance(block, ToolResultBlock))


def last_text(message: ChatMessage) -> str:
    """The last text block; the loop may put context before what the user wrote."""
    texts = [block.text for block in message.blocks if isinstance(block, TextBlock)]
    return texts[-1] if texts else ""


def fits(rule: Rule, view: TurnView) -> Mapping[str, str] | None:
    """The groups of `match`, by number and name, if every condition holds; else None."""
    result = "\n".join(block.content for block in view.results)
    searches = ((rule.system, view.system), (rule.model, view.model), (rule.result, result))
    if rule.step not in (None, view.step):
        return None
    if rule.after_tool not in (None, *(block.name for block in view.results)):
        return None
    if any(pattern is not None and not re.search(pattern, text) for pattern, text in searches):
        return None
    found = re.search(rule.match or "", view.user)
    return None if found is None else _groups(found)


def _groups(found: re.Match[str]) -> dict[str, str]:
    groups = {str(n): found[n] or "" for n in range(len(found.groups()) + 1)}
    return groups | {name: text or "" for name, text in found.groupdict().items()}


class Words:
    """Fills placeholders with what the request says."""

    def __init__(self, view: TurnView, groups: Mapping[str, str]) -> None:
        self._known = {"user": view.user, "model": view.model, **groups}
        self._known["results"] = "\n".join(block.content for block in view.results)
        self._known |= {f"result.{block.name}": block.content for block in view.earlier}

    def fill(self, text: str) -> str:
        """Replace every placeholder; one whose tool has not run becomes a dash."""
        return PLACEHOLDER.sub(self._value, text)

    def fill_all(self, value: object) -> object:
        """Fill every string inside a JSON-like value."""
        if isinstance(value, str):
            return self.fill(value)
        if isinstance(value, dict):
            return {key: self.fill_all(item) for key, item in cast("JsonObject", value).items()}
        if isinstance(value, list):
            return [self.fill_all(item) for item in cast("list[object]", value)]
        return value

    def _value(self, found: re.Match[str]) -> str:
        if found[0].startswith("$$"):
            return found[0][1:]
        return FILTERS[found["filter"]](self._known.get(found["name"], "-"))


def _line(number: int) -> Callable[[str], str]:
    return lambda text: (text.strip().splitlines() or [""])[number]


def _quote(text: str) -> str:
    return "\n".join(f"> {line}" for line in text.strip().splitlines())


FILTERS: Final[Mapping[str | None, Callable[[str], str]]] = {
    None: str,
    "first": _line(0),
    "last": _line(-1),
    "quote": _quote,
}
"""What a placeholder's `|filter` does."""
