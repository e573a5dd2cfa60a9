"""Messages as JSON that a person may read: bounded, and without secrets."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import PurePath
from typing import Final, TypeAlias, cast
from uuid import UUID

import msgspec
import outcome

from ..actors import ActorRef
from ..config import Secret
from ..errors import SeptemberError
from .unions import ambiguous

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

TYPE: Final = "$type"
"""The key under which a value says of which of several types it is."""

HIDDEN: Final = "<hidden>"
"""In the place of a field that is kept out of every text."""

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
        """An answer by its type and as JSON; the empty string for None.

        Of an outcome it is what is in it, after `Value` or `Error`.
        """
        match value:
            case None:
                return ""
            case outcome.Value(found) | outcome.Error(found):
                return f"{type(value).__name__} {self.answer(found)}".rstrip()
            case _:
                several = isinstance(value, list | tuple | set | frozenset | Mapping)
                shown = msgspec.json.encode(self._shown(value, DEPTH, typed=several)).decode()
                return f"{type(value).__name__} {shown}"[:MESSAGE_LENGTH]

    def _shown(self, value: object, depth: int, *, typed: bool = False) -> object:
        """As JSON may hold it; `typed` says that it could be of several types, so it says which."""
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
            case PurePath() | UUID() | datetime():
                return self.text(str(value))
            case SeptemberError():
                return self._fields(_told(value).items(), depth, typed=False)
            case BaseException():
                return self.text(f"{type(value).__name__}: {value}")
            case _:
                return self._compound(value, depth, typed=typed)

    def _compound(self, value: object, depth: int, *, typed: bool) -> object:
        if depth == 0:
            return f"<{type(value).__name__}>"
        if isinstance(value, Mapping):
            return self._fields(cast("Mapping[object, object]", value).items(), depth, typed)
        if isinstance(value, list | tuple | set | frozenset):
            items = list(cast("Iterable[object]", value))
            shown = [self._shown(item, depth - 1, typed=typed) for item in items[:ITEMS]]
            return [*shown, f"<{len(items) - ITEMS} more>"] if len(items) > ITEMS else shown
        pairs = _pairs(value)
        if pairs is None:
            return _named(value)
        kind = cast("type", type(value))
        named = [(TYPE, kind.__name__), *pairs] if typed else pairs
        return self._fields(named, depth, ambiguous(kind))

    def _fields(
        self, pairs: Iterable[tuple[object, object]], depth: int, typed: bool | frozenset[str]
    ) -> dict[str, object]:
        """`typed` are the fields of several types, or whether all are."""
        shown: dict[str, object] = {}
        for key, value in pairs:
            if len(shown) == ITEMS:
                break
            name = self.text(str(key), 100)
            if isinstance(value, str) and _hides(name):
                shown[name] = "[secret]" if value else ""
            else:
                several = typed if isinstance(typed, bool) else name in typed
                shown[name] = self._shown(value, depth - 1, typed=several)
        return shown


def _pairs(value: object) -> list[tuple[object, object]] | None:
    """The fields of a Struct or a dataclass; None for whatever has none."""
    if isinstance(value, msgspec.Struct):
        found = ((name, getattr(value, name)) for name in value.__struct_fields__)
        return [(name, held) for name, held in found if held is not msgspec.UNSET]
    if is_dataclass(value) and not isinstance(value, type):
        pairs = [(one.name, _held(one, getattr(value, one.name))) for one in fields(value)]
        return [(name, held) for name, held in pairs if held is not MISSING]
    return None


def _held(field: Field[object], value: object) -> object:
    """What is shown of a field; MISSING for a default that is kept out of texts."""
    if field.repr:
        return value
    return MISSING if value is field.default else HIDDEN


def _told(error: SeptemberError) -> dict[str, object]:
    told = {TYPE: type(error).__name__, "code": error.code, "message": error.message}
    return {**told, "details": error.details, "retry_after": error.retry_after}


def _hides(name: str) -> bool:
    """Whether a field of this name is a credential, whatever its value looks like."""
    return name.lower().replace("-", "_").rpartition("_")[2] in _SECRET_NAME


def _named(value: object) -> str:
    """A function by its name, anything else by its type: its own words may be anybody's secret."""
    function: object = getattr(value, "func", value)  # of a partial
    name = getattr(function, "__qualname__", None)
    return f"<{name or type(value).__name__}>"
