"""JSON and query strings to typed requests: the only place with loose dicts.

A refusal names the field and the remedy: 400 for what is malformed, missing, empty or unknown,
422 for a value of the wrong type or out of its bounds (contract, section 2.1).
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from typing import ClassVar, Final, TypeVar, cast
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from ..brain.channels.events import JsonObject
from ..brain.security.sanitize import sanitize
from ..errors import SchemaViolation, SeptemberError, located


class Input(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a request carries. The fields in `human` are text that a person wrote."""

    human: ClassVar[tuple[str, ...]] = ()


InputT = TypeVar("InputT", bound=Input)

_BOM: Final = b"\xef\xbb\xbf"
_BYTE: Final = re.compile(r"\(byte (\d+)\)")
_EMPTY: Final = ("expected `str` matching regex '\\\\S'", "expected `str` of length >= 1")


def from_body(raw: bytes, kind: type[InputT]) -> InputT:
    """Decode a JSON body as `kind`; none at all will do where nothing is required.

    Raises INVALID_REQUEST.
    """
    if not raw.strip() and not _required(kind):
        return kind()
    value = _json(raw.removeprefix(_BOM))
    if not isinstance(value, dict):
        raise _invalid(
            f"the body is {_name(value)}; send a JSON object such as {_example(kind)}",
            expected="object",
        )
    return _typed(cast("JsonObject", value), kind, strict=True)


def from_query(query: bytes, kind: type[InputT]) -> InputT:
    """Decode a query string as `kind`. Raises INVALID_REQUEST."""
    given: JsonObject = {}
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name in given:
            raise _invalid(f"{name}: given twice in the query string; send it once", field=name)
        given[name] = value
    return _typed(given, kind, strict=False)


def event_id(header: str | None) -> int | None:
    """The value of a Last-Event-ID header. Raises INVALID_REQUEST."""
    if not header:
        return None
    if not header.isascii() or not header.isdecimal() or len(header) > 18:
        raise _invalid(
            f"Last-Event-ID: {header[:40]!r} is not an event id; send the `id:` of the last frame"
            " you received, a whole number",
            field="Last-Event-ID",
        )
    return int(header)


def _json(raw: bytes) -> object:
    if not raw.strip():
        raise _invalid("the body is empty; send a JSON object", expected="object")
    try:
        raw.decode()
        return msgspec.json.decode(raw)
    except UnicodeDecodeError as error:
        raise _invalid(
            f"the body is not valid UTF-8 at byte {error.start}; encode the JSON as UTF-8",
            position=error.start,
        ) from error
    except RecursionError as error:
        raise _invalid("the body is nested too deeply; flatten it") from error
    except msgspec.DecodeError as error:
        raise _not_json(raw, str(error)) from error


def _not_json(raw: bytes, complaint: str) -> SeptemberError:
    found = _BYTE.search(complaint)
    position = int(found[1]) if found else len(raw)
    before = raw[:position]
    line = before.count(b"\n") + 1
    column = len(before[before.rfind(b"\n") + 1 :].decode(errors="replace")) + 1
    return _invalid(
        f"the body is not valid JSON at line {line}, column {column}: {complaint}",
        position=position,
        line=line,
        column=column,
    )


def _typed(given: JsonObject, kind: type[InputT], *, strict: bool) -> InputT:
    _refuse_unknown(given, kind)
    _refuse_missing(given, kind)
    for name in kind.human:
        value = given.get(name)
        if isinstance(value, str):
            given[name] = sanitize(value)
    try:
        return msgspec.convert(given, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise _violation(str(error)) from error


def _refuse_unknown(given: JsonObject, kind: type[Input]) -> None:
    known = kind.__struct_fields__
    for name in given:
        if name not in known:
            close = get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            allowed = ", ".join(known) or "nothing"
            raise _invalid(
                f"{_short(name)}: unknown field; {hint}this request takes {allowed}",
                field=_short(name),
                known=known,
            )


def _refuse_missing(given: JsonObject, kind: type[Input]) -> None:
    for name in _required(kind):
        if name not in given:
            raise _invalid(f"{name}: required field is missing; send it", field=name)


def _violation(complaint: str) -> SeptemberError:
    """What msgspec found, as a refusal that begins with the field."""
    what, path, stray = located(complaint)
    if stray:
        return _invalid(f"{path}: {what}", field=path)
    if what in _EMPTY:
        return _invalid(f"{path}: is empty; send some text", field=path)
    return SchemaViolation(f"{path}: {what}", {"field": path})


def _invalid(message: str, **details: object) -> SeptemberError:
    return SeptemberError("INVALID_REQUEST", message, details)


def _example(kind: type[Input]) -> str:
    return "{" + ", ".join(f'"{name}": ...' for name in _required(kind)) + "}"


@cache
def _required(kind: type[Input]) -> tuple[str, ...]:
    return tuple(field.name for field in msgspec.structs.fields(kind) if field.required)


def _name(value: object) -> str:
    names: Mapping[type, str] = {
        list: "an array",
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "null")


def _short(name: str) -> str:
    return name if len(name) <= 60 else name[:60] + "…"
