"""Filling in a skill's prompt: `{{name}}` must be given, `{{name|default}}` may be."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from ...errors import SeptemberError

_PLACE: Final = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?:\|([^{}]*))?\}\}")


def parameters(prompt: str) -> dict[str, str | None]:
    """The prompt's parameters in their order, with their defaults; None for what must be given."""
    found: dict[str, str | None] = {}
    for name, default in _PLACE.findall(prompt):
        if found.get(name) is None:
            found[name] = default.strip() or None
    return found


def filled(prompt: str, given: Mapping[str, object]) -> str:
    """The prompt with its parameters. Raises INVALID_REQUEST naming one that is missing."""
    known = parameters(prompt)
    for name, default in known.items():
        if name not in given and default is None:
            raise SeptemberError(
                "INVALID_REQUEST",
                f"params.{name}: is missing; this skill takes {', '.join(known)}",
                {"field": f"params.{name}", "known": list(known)},
            )
    return _PLACE.sub(lambda place: shown(given.get(place[1], known[place[1]])), prompt)


def shown(value: object) -> str:
    """A parameter as text: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
