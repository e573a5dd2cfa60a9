"""Messages as JSON that a person may read: bounded, and without secrets."""

from collections.abc import Callable, Collection, Mapping, Sized
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from enum import Enum
from functools import partial
from itertools import islice
from pathlib import PurePath
from typing import Any, Final, TypeAlias, cast
from uuid import UUID

import msgspec
import outcome

from ..actors import ActorRef
from ..config import Secret
from ..errors import SeptemberError
from .unions import ambiguous, structured

Scrub: TypeAlias = Callable[[str], str]
"""Takes the secrets out of a text."""

TEXT_LENGTH: Final = 400
"""Characters kept of one text."""

ITEMS: Final = 400
"""Items kept of one list or mapping: enough for the token times of a long answer."""

DEPTH: Final = 5
ANSWER_DEPTH: Final = 8
"""Levels kept of an answer: a transcript has seven."""

MESSAGE_LENGTH: Final = 8_000
"""Characters kept of one message as JSON; a longer one is kept only in outline."""

_SCRUBBED_LENGTH: Final = 20 * TEXT_LENGTH
"""Characters that are scrubbed before the cut: a secret cut in two is not recognised."""

TYPE: Final = "$type"
"""The key under which a value says of which of several types it is."""

HIDDEN: Final = "<hidden>"
"""In the place of a field that is kept out of every text."""

Way: TypeAlias = Callable[[Any, int, bool], object]
"""Shows a value of one type as JSON may hold it: so many levels deep, and with its type or not."""

_WAYS: Final = 1_000
"""Types whose way is remembered."""

_PLAIN: Final = (type(None), bool, int, float)
_as_json: Final = msgspec.json.Encoder().encode
_SECRET_NAME: Final = ("key", "token", "secret", "password", "authorization")


class Renderer:
    """Renders messages and texts with `scrub` applied to every text in them."""

    def __init__(self, scrub: Scrub = str, length: int = TEXT_LENGTH) -> None:
        self._scrub = scrub
        self._length = length
        self._most = max(MESSAGE_LENGTH, length)
        self._ways: dict[type[Any], Way] = {}

    def text(self, text: str, length: int | None = None) -> str:
        """A text without secrets and half characters (as in names of files), cut to `length`."""
        length = length or self._length
        clean = self._scrub(text[: max(_SCRUBBED_LENGTH, 2 * length)])
        if not clean.isascii():
            clean = clean.encode(errors="replace").decode()
        return clean if len(clean) <= length else f"{clean[:length]}… ({len(text)} characters)"

    def message(self, message: object) -> str:
        """A message as a JSON object, or the empty string for one without fields."""
        if message is None:
            return ""
        shown = self._shown(message, DEPTH)
        if not shown or (not isinstance(shown, dict) and not isinstance(message, str)):
            return ""  # nothing but its type, which has a column of its own
        text = _as_json(shown).decode()
        if len(text) <= self._most:
            return text
        return _as_json(self._shown(message, 2)).decode()[: self._most]

    def answer(self, value: object) -> str:
        """An answer by its type and as JSON; the empty string for None.

        Of an outcome it is what is in it, after `Value` or `Error`.
        """
        match value:
            case None:
                return ""
            case outcome.Value():
                return f"Value {self.answer(cast('outcome.Value[object]', value).value)}".rstrip()
            case outcome.Error(error):
                return f"Error {self.answer(error)}"
            case _:
                several = isinstance(value, list | tuple | set | frozenset | Mapping)
                shown = _as_json(self._shown(value, ANSWER_DEPTH, typed=several)).decode()
                return f"{type(value).__name__} {shown}"[: self._most]

    def _shown(self, value: object, depth: int, typed: bool = False) -> object:
        """As JSON may hold it; `typed` says that it could be of several types, so it says which."""
        way = self._ways.get(type(value))
        if way is None:
            if len(self._ways) >= _WAYS:
                self._ways.clear()
            way = self._ways[type(value)] = self._way(type(value))
        return way(value, depth, typed)

    def _way(self, kind: type[Any]) -> Way:
        """How to show values of a type: found out once, for there are many values of few types."""
        return self._flat_way(kind) or self._deep_way(kind)

    def _flat_way(self, kind: type[Any]) -> Way | None:
        ways: tuple[tuple[type | tuple[type, ...], Way], ...] = (
            (_PLAIN, lambda value, _, __: value),
            (str, lambda value, _, __: self.text(value)),
            ((bytes, bytearray), lambda value, _, __: f"<{len(value)} bytes>"),
            (Secret, lambda _, __, ___: "[secret]"),
            (Enum, lambda value, depth, _: self._shown(value.value, depth)),
            (ActorRef, lambda value, _, __: value.path),
            ((PurePath, UUID, datetime), lambda value, _, __: self.text(str(value))),
            (SeptemberError, lambda value, depth, _: self._mapping(_told(value), depth)),
            (BaseException, lambda value, _, __: self.text(f"{type(value).__name__}: {value}")),
        )
        return next((way for kinds, way in ways if issubclass(kind, kinds)), None)

    def _deep_way(self, kind: type[Any]) -> Way:
        way, outline = self._compound(kind), f"<{kind.__name__}>"
        return lambda value, depth, typed: way(value, depth, typed) if depth else outline

    def _compound(self, kind: type[Any]) -> Way:
        if issubclass(kind, Mapping):
            return self._mapping
        if issubclass(kind, list | tuple | set | frozenset):
            return self._items
        if structured(kind):
            return partial(self._fields, _Shape.of(kind))
        return lambda value, _, __: _named(value)

    def _mapping(
        self, value: Mapping[object, object], depth: int, typed: bool = False
    ) -> dict[str, object]:
        shown: dict[str, object] = {}
        for key, part in islice(value.items(), ITEMS):
            name = self.text(str(key), 100)
            shown[name] = self._part(_hides(name), part, depth, typed)
        return shown

    def _items(self, value: Collection[object], depth: int, typed: bool) -> list[object]:
        shown = [self._shown(item, depth - 1, typed) for item in islice(value, ITEMS)]
        return [*shown, f"<{len(value) - ITEMS} more>"] if len(value) > ITEMS else shown

    def _fields(self, shape: "_Shape", value: object, depth: int, typed: bool) -> dict[str, object]:
        shown: dict[str, object] = {TYPE: shape.name} if typed else {}
        for name, hides, several in shape.open:
            held = getattr(value, name)
            if held is not msgspec.UNSET:
                shown[name] = self._part(hides, held, depth, several)
        for name, default in shape.covered:
            held = getattr(value, name)
            if held is not default:
                shown[name] = held if _empty(held) else HIDDEN
        return shown

    def _part(self, hides: bool, value: object, depth: int, typed: bool) -> object:
        if hides and isinstance(value, str):
            return "[secret]" if value else ""
        return self._shown(value, depth - 1, typed)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What there is to show of a dataclass or a Struct."""

    name: str
    open: tuple[tuple[str, bool, bool], ...]
    """Fields that are shown: whether the name is a credential's, whether it has several types."""
    covered: tuple[tuple[str, object], ...]
    """Fields that are kept out of texts, unless empty; nothing is said of their defaults."""

    @classmethod
    def of(cls, kind: type[Any]) -> "_Shape":
        """Look at a type."""
        several = ambiguous(cast("type", kind))
        if issubclass(kind, msgspec.Struct):
            names = kind.__struct_fields__
            covered: tuple[tuple[str, object], ...] = ()
        else:
            found = fields(kind) if is_dataclass(kind) else ()
            names = tuple(one.name for one in found if one.repr)
            covered = tuple((one.name, one.default) for one in found if not one.repr)
        open_ = tuple((name, _hides(name), name in several) for name in names[:ITEMS])
        return cls(kind.__name__, open_, covered)


def _empty(value: object) -> bool:
    """Whether there is nothing to hide."""
    return value is None or (isinstance(value, Sized) and len(value) == 0)


def _told(error: SeptemberError) -> dict[object, object]:
    return {
        TYPE: type(error).__name__,
        "code": error.code,
        "message": error.message,
        "details": error.details,
        "retry_after": error.retry_after,
    }


def _hides(name: str) -> bool:
    """Whether a field of this name is a credential, whatever its value looks like."""
    return name.lower().replace("-", "_").rpartition("_")[2] in _SECRET_NAME


def _named(value: object) -> str:
    """A function by its name, anything else by its type: its own words may be anybody's secret."""
    function: object = getattr(value, "func", value)  # of a partial
    name = getattr(function, "__qualname__", None)
    return f"<{name or type(value).__name__}>"
