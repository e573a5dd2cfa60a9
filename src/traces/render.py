"""Messages as JSON that a person may read: bounded, and without secrets."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Final, TypeAlias, cast

import msgspec

from ..actors import ActorRef
from ..config import Secret

Scrub: TypeAlias = Callable[[str], str]
"""Takes the secrets out of a text."""

TEXT_LENGTH: Final = 400
"""Characters kept of one text."""

ITEMS: Final = 400
"""Items kept of one list or mapping: enough for the token times of a long answer."""

DEPTH: Final = 5
MESSAGE_LENGTH: Final = 8_000
"""Characters kept of one message as JSON; a longer one is kept only in outline."""

_SCRUBBED_LENGTH: Final = 20 * TEXT_LENGTH
"""Characters that are scrubbed before the cut: a secret cut in two is not recognised."""

_SECRET_NAME: Final = ("key", "token", "secret", "password", "authorization")


class Renderer:
    """Renders messages and texts with `scrub` applied to every text in them."""

    def __init__(self, scrub: Scrub = str) -> None:
        self._scrub = scrub

    def text(self, text: str, length: int = TEXT_LENGTH) -> str:
        """A text without secrets, cut to `length`."""
        clean = self._scrub(text[: max(_SCRUBBED_LENGTH, 2 * length)])
        return clean if len(clean) <= length else f"{clean[:length]}… ({len(text)} characters)"

    def message(self, message: object) -> str:
        """A message as a JSON object, or the empty string for one without fields."""
        if message is None:
            return ""
        shown = self._shown(message, DEPTH)
        if not shown or (not isinstance(shown, dict) and not isinstance(message, str)):
            return ""  # nothing but its type, which has a column of its own
        text = msgspec.json.encode(shown).decode()
        if len(text) <= MESSAGE_LENGTH:
            return text
        return msgspec.json.encode(self._shown(message, 2)).decode()[:MESSAGE_LENGTH]

    def answer(self, value: object) -> str:
        """An answer by its type and as JSON; the empty string for None."""
        if value is None:
            return ""
        shown = msgspec.json.encode(self._shown(value, DEPTH)).decode()
        return f"{type(value).__name__} {shown}"[:MESSAGE_LENGTH]

    def _shown(self, value: object, depth: int) -> object:
        match value:
            case None | bool() | int() | float():
                return value
            case str():
                return self.text(value)
            case bytes() | bytearray():
                return f"<{len(value)} bytes>"
            case Secret():
                return "[secret]"
            case Enum():
                return self._shown(value.value, depth)
            case ActorRef():
                return cast("ActorRef[object]", value).path
            case BaseException():
                return self.text(f"{type(value).__name__}: {value}")
            case _:
                return self._compound(value, depth)

    def _compound(self, value: object, depth: int) -> object:
        if depth == 0:
            return f"<{type(value).__name__}>"
        if isinstance(value, Mapping):
            return self._fields(cast("Mapping[object, object]", value).items(), depth)
        if isinstance(value, list | tuple | set | frozenset):
            items = list(cast("Iterable[object]", value))
            shown = [self._shown(item, depth - 1) for item in items[:ITEMS]]
            return [*shown, f"<{len(items) - ITEMS} more>"] if len(items) > ITEMS else shown
        if isinstance(value, msgspec.Struct):
            names = value.__struct_fields__
            return self._fields(((name, getattr(value, name)) for name in names), depth)
        if is_dataclass(value) and not isinstance(value, type):
            pairs = ((one.name, getattr(value, one.name)) for one in fields(value) if one.repr)
            return self._fields(pairs, depth)
        return _named(value)

    def _fields(self, pairs: Iterable[tuple[object, object]], depth: int) -> dict[str, object]:
        shown: dict[str, object] = {}
        for key, value in pairs:
            if len(shown) == ITEMS:
                break
            name = self.text(str(key), 100)
            if isinstance(value, str) and _hides(name):
                shown[name] = "[secret]" if value else ""
            else:
                shown[name] = self._shown(value, depth - 1)
        return shown


def _hides(name: str) -> bool:
    """Whether a field of this name is a credential, whatever its value looks like."""
    return name.lower().replace("-", "_").rpartition("_")[2] in _SECRET_NAME


def _named(value: object) -> str:
    """A function by its name, anything else by its type: its own words may be anybody's secret."""
    function: object = getattr(value, "func", value)  # of a partial
    name = getattr(function, "__qualname__", None)
    return f"<{name or type(value).__name__}>"
