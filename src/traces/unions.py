"""Which fields may hold one of several types: their values must say of which one they are."""

from collections.abc import Iterator
from dataclasses import is_dataclass
from functools import cache
from typing import get_args, get_type_hints

import msgspec


@cache
def ambiguous(kind: type) -> frozenset[str]:
    """Names of the fields of a dataclass or Struct that are declared with several of such types."""
    return frozenset(name for name, hint in hints(kind).items() if len(set(_within(hint))) > 1)


@cache
def hints(kind: type) -> dict[str, object]:
    """The declared types of its fields; none if a name in them is for type checkers only."""
    try:
        return get_type_hints(kind)
    except (NameError, TypeError):
        return {}


def structured(kind: object) -> bool:
    """Whether this is a type with fields."""
    return isinstance(kind, type) and (is_dataclass(kind) or issubclass(kind, msgspec.Struct))


def _within(hint: object) -> Iterator[object]:
    if structured(hint):
        yield hint
    for part in get_args(hint):
        yield from _within(part)
