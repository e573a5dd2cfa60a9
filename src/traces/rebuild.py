"""From what the trace keeps of a message or an answer, the value again; or why there is none.

Nothing is guessed: what was cut, redacted or kept out of the trace is named by its field.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path, PurePath
from types import GenericAlias, NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeGuard, TypeVar, Union, get_args, get_origin
from uuid import UUID

import msgspec
import outcome

from ..actors import ActorRef
from ..errors import SeptemberError
from .render import HIDDEN, TYPE
from .unions import hints, structured

Refs = Callable[[str], ActorRef[Any]]
"""Finds the actor at a path."""

CUT: Final = re.compile(r"… \((\d+) characters\)\Z")
PLACEHOLDER: Final = re.compile(r"\[redacted[^\]]*\]|\[secret\]|<[\w.<>]+>|<\d+ (?:bytes|more)>")

_FUNCTION: Final = re.compile(r"<([\w.<>]+)>")
_PLAIN: Final[Mapping[str, type]] = {
    one.__name__: one for one in (bool, int, float, str, list, tuple, dict, set, frozenset)
}
_COLLECTIONS: Final = (list, tuple, set, frozenset, deque)


class NotKept(Exception):  # says what is missing rather than what went wrong
    """A value that the trace does not have as it was; says which, and why."""


class Named:
    """A function of which only the name is known. Nobody may call it."""

    def __init__(self, name: str) -> None:
        self.__qualname__ = name

    def __call__(self, *_: object) -> object:
        raise NotKept(f"of the function {self.__qualname__} the trace has no more than the name")


class Rebuilder:
    """Makes values of types; `refs` finds the actors that are mentioned.

    With `as_kept` a text that was cut or redacted is taken as the trace has it.
    """

    def __init__(self, refs: Refs, *, as_kept: bool = False) -> None:
        self._refs = refs
        self._as_kept = as_kept

    def message(self, text: str, kind: type) -> Any:
        """A message of this type. Raises NotKept."""
        return self._fields(_decoded(text or "{}"), kind, kind.__name__)

    def answer(self, text: str, declared: Any) -> Any:
        """An answer, as `Renderer.answer` tells it. Raises NotKept."""
        if not text:
            return None
        name, _, rest = text.partition(" ")
        if name in ("Value", "Error"):
            within = next(iter(get_args(declared)), Any)
            found = self.answer(rest, within if name == "Value" else Any)
            return outcome.Value(found) if name == "Value" else outcome.Error(found)
        return self._value(_decoded(rest), _chosen(declared, name), "its answer")

    def _value(self, value: Any, kind: Any, where: str) -> Any:
        origin = get_origin(kind)
        if origin is Annotated:
            return self._value(value, get_args(kind)[0], where)
        if origin in (Union, UnionType):
            return self._value(value, self._member(value, get_args(kind), where), where)
        if kind is Any or kind is object or isinstance(kind, TypeVar):
            return self._untyped(value, where)
        if origin is Literal:
            return value
        if isinstance(value, str) and kind is not str:
            return self._from_text(value, origin or kind, where)
        return self._typed(value, kind, origin or kind, where)

    def _typed(self, value: Any, kind: Any, origin: Any, where: str) -> Any:
        if structured(origin) or _is_error(origin):
            return self._fields(value, origin, where)
        if _is_list(value):
            return self._collection(value, kind, origin, where)
        if _is_map(value):
            return self._mapping(value, kind, origin, where)
        if isinstance(origin, type) and issubclass(origin, Enum):
            return origin(value)
        if origin is float and isinstance(value, int):
            return float(value)
        if isinstance(value, str):
            return self._text(value, where)
        if isinstance(origin, type) and isinstance(value, origin):
            return value
        raise NotKept(f"{where} is no {getattr(origin, '__name__', origin)} any more")

    def _collection(self, value: list[Any], kind: Any, origin: Any, where: str) -> Any:
        inner = get_args(kind)
        make: Any = origin if origin in _COLLECTIONS else tuple
        if origin is tuple and inner and inner[-1] is not Ellipsis and len(inner) == len(value):
            kinds = list(inner)
        else:
            kinds = [inner[0] if inner else Any] * len(value)
        pairs = enumerate(zip(value, kinds, strict=True))
        made = [self._value(one, of, f"{where}[{place}]") for place, (one, of) in pairs]
        return make(made)

    def _mapping(self, value: dict[str, Any], kind: Any, origin: Any, where: str) -> Any:
        of_keys, of_values = get_args(kind) if len(get_args(kind)) == 2 else (str, Any)
        made = {
            self._key(key, of_keys, where): self._value(one, of_values, f"{where}.{key}")
            for key, one in value.items()
        }
        make: Any = origin
        return made if origin in (dict, Mapping, MutableMapping, object) else make(made)

    def _key(self, key: str, kind: Any, where: str) -> Any:
        return int(key) if kind is int else self._value(key, kind, where)

    def _from_text(self, value: str, kind: Any, where: str) -> Any:
        """A value that the trace keeps as a text: a path, an id, a function, an actor, an error."""
        if kind is _CALLABLE:
            return Named(value[1:-1])
        text = self._text(value, where)
        if not isinstance(kind, type):
            return text
        if issubclass(kind, PurePath):
            return Path(text)
        if issubclass(kind, datetime):
            return datetime.fromisoformat(text)
        if issubclass(kind, UUID | Enum):
            return kind(text)
        if issubclass(kind, ActorRef):
            return self._refs(text)
        if issubclass(kind, BaseException):
            name, _, words = text.partition(": ")
            return type(name, (Exception,), {})(words)
        raise NotKept(f"{where} is kept as a text only: {value[:60]}")

    def _text(self, value: str, where: str) -> str:
        if not self._as_kept:
            cut = CUT.search(value)
            if cut is not None:
                raise NotKept(f"{where} was cut: it had {cut[1]} characters")
            if PLACEHOLDER.search(value):
                raise NotKept(f"{where} was redacted or is not kept: {value[:60]}")
        return value

    def _untyped(self, value: Any, where: str) -> Any:
        if _is_map(value):
            if TYPE in value:
                raise NotKept(f"of {where} no more than the name of its type is known")
            return {
                self._text(k, where): self._untyped(v, f"{where}.{k}") for k, v in value.items()
            }
        if _is_list(value):
            return [self._untyped(one, where) for one in value]
        return self._text(value, where) if isinstance(value, str) else value

    def _member(self, value: Any, kinds: Iterable[Any], where: str) -> Any:
        """Which of several types this value is of."""
        members = list(kinds)
        if value is None and NoneType in members:
            return NoneType
        members = [one for one in members if one not in (NoneType, msgspec.UnsetType)]
        name = value.get(TYPE) if _is_map(value) else None
        if name is not None:
            return _named_among(members, name)
        exact = [one for one in members if one is type(value)]
        if exact or len(members) == 1:
            return (exact or members)[0]
        if isinstance(value, str):
            texts = [one for one in members if get_origin(one) is Literal or _is_enum(one)]
            return texts[0] if texts else str
        wanted = _COLLECTIONS if _is_list(value) else (dict, Mapping)
        fit = [one for one in members if (get_origin(one) or one) in (*wanted, Sequence)]
        fit = fit or [one for one in members if _is_map(value) and structured(one)]
        if len(fit) == 1:
            return fit[0]
        raise NotKept(f"{where} may be of several types, and the trace does not say of which")

    def _fields(self, value: Any, kind: Any, where: str) -> Any:
        if not _is_map(value):
            raise NotKept(f"of {where} no more than the type is kept")
        given = {key: one for key, one in value.items() if key != TYPE}
        if _is_error(kind):
            return self._error(given, kind, where)
        declared = hints(kind)
        made = {
            name: self._field(given[name], declared.get(name, Any), f"{where}.{name}")
            for name in _settable(kind)
            if name in given
        }
        stray = [name for name in given if name not in _settable(kind)]
        if stray:
            raise NotKept(f"{where} has no {stray[0]} any more")
        missing = [name for name, needed in _settable(kind).items() if needed and name not in made]
        if missing:
            raise NotKept(f"{where}.{missing[0]} is not kept")
        return kind(**made)

    def _field(self, value: Any, kind: Any, where: str) -> Any:
        if value == HIDDEN and not _is_function(kind):
            raise NotKept(f"{where} is kept out of the trace")
        return self._value(value, kind, where)

    def _error(self, given: dict[str, Any], kind: type[SeptemberError], where: str) -> Any:
        error = kind.__new__(kind)
        words = self._text(given["message"], where)
        details = self._untyped(given["details"], where)
        SeptemberError.__init__(
            error, given["code"], words, details, retry_after=given["retry_after"]
        )
        return error


def _is_map(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


_CALLABLE: Final = get_origin(Callable[[], None])


def declared_answer(message: object) -> Any:
    """What a message is answered with, as its class declares it."""
    own = getattr(message, "answer_type", None)
    if own is not None:
        return own()
    for kind in type(message).__mro__:
        for base in getattr(kind, "__orig_bases__", ()):
            if get_args(base) and getattr(get_origin(base), "__name__", "") == "Message":
                return resolved(get_args(base)[0], kind)
    return Any


def resolved(declared: Any, kind: type) -> Any:
    """A type that `kind` was declared with, as it may stand there: by name."""
    holder = type(
        "holder", (), {"__annotations__": {"it": declared}, "__module__": kind.__module__}
    )
    return hints(holder).get("it", Any)


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise NotKept("it was too long to keep") from error


def _chosen(declared: Any, name: str) -> Any:
    """Of what an answer may be, what it says it is."""
    if declared is Any or declared is object or isinstance(declared, TypeVar):
        if name not in _PLAIN:
            raise NotKept(f"of its answer no more is declared than that it is a {name}")
        return _PLAIN[name]
    options = get_args(declared) if get_origin(declared) in (Union, UnionType) else (declared,)
    return _named_among(options, name)


def _named_among(options: Iterable[Any], name: str) -> Any:
    members = list(options)
    for one in members:
        if getattr(get_origin(one) or one, "__name__", "") == name:
            return one
    error = _errors().get(name)
    if error is not None:
        return error
    plain = [one for one in members if get_origin(one) in (Sequence, Mapping)]
    if name in _PLAIN and len(plain) == 1:
        return GenericAlias(_PLAIN[name], get_args(plain[0]))
    if len(members) == 1:
        return members[0]
    raise NotKept(f"it was answered with a {name}, which is none of its answers any more")


def _errors() -> dict[str, type[SeptemberError]]:
    found: dict[str, type[SeptemberError]] = {}
    waiting = [SeptemberError]
    while waiting:
        kind = waiting.pop()
        found[kind.__name__] = kind
        waiting.extend(kind.__subclasses__())
    return found


def _settable(kind: Any) -> dict[str, bool]:
    """Its fields, and whether each must be given."""
    if is_dataclass(kind):
        return {
            one.name: one.default is MISSING and one.default_factory is MISSING
            for one in fields(kind)
            if one.init
        }
    return {one.name: one.required for one in msgspec.structs.fields(kind)}


def _is_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, SeptemberError)


def _is_enum(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


def _is_function(kind: Any) -> bool:
    return any(get_origin(one) is _CALLABLE for one in (kind, *get_args(kind)))
