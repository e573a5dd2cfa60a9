"""JSON Schema as Gemini's function declarations take it: a subset of OpenAPI 3.0.

Gemini refuses a declaration with a keyword it does not know, and what MCP servers send is full
of them. The translation keeps the meaning where the subset can say it, and widens where not: the
arguments are checked against the real schema before a tool runs.
"""

from collections.abc import Mapping, Sequence
from typing import cast

from ..channels.events import JsonObject
from .tool_schema import object_schema, resolved

_COPIED = (
    "title",
    "description",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
)
_TYPES = ("string", "number", "integer", "boolean", "array", "object")
_FORMATS: Mapping[str, frozenset[str]] = {
    "string": frozenset({"enum", "date-time"}),
    "number": frozenset({"float", "double"}),
    "integer": frozenset({"int32", "int64"}),
}


def gemini_schema(schema: JsonObject) -> JsonObject | None:
    """The schema of a tool's input; None when the tool takes no arguments."""
    translated = _Translation(schema).node(object_schema(schema))
    return translated if translated.get("properties") else None


class _Translation:
    """Translates one document; `$ref` is resolved in place and a cycle becomes an open object."""

    def __init__(self, document: JsonObject) -> None:
        self._document = document

    def node(self, schema: object, path: tuple[str, ...] = ()) -> JsonObject:
        """One schema; `path` holds the references that led here."""
        if not isinstance(schema, dict):
            return {"type": "OBJECT"}
        given = cast("JsonObject", schema)
        reference = given.get("$ref")
        if isinstance(reference, str):
            if reference in path:
                return {"type": "OBJECT"}
            return self.node(self._followed(given), (*path, reference))
        return self._plain(*self._flattened(given, path))

    def _followed(self, given: JsonObject) -> JsonObject:
        """What `$ref` points at, overlaid with what stands beside it."""
        target = resolved(self._document, str(given["$ref"]))
        return {**target, **{key: value for key, value in given.items() if key != "$ref"}}

    def _flattened(
        self, given: JsonObject, path: tuple[str, ...]
    ) -> tuple[JsonObject, tuple[str, ...]]:
        """`allOf` merged into its parent: properties and requirements add up, the rest overlays.

        The path grows by the references that the parts follow; one already on it adds nothing.
        """
        parts = given.get("allOf")
        if not isinstance(parts, list):
            return given, path
        merged: JsonObject = {}
        rest = {key: value for key, value in given.items() if key != "allOf"}
        for part in [*cast("list[object]", parts), rest]:
            node = cast("JsonObject", part) if isinstance(part, dict) else {}
            reference = str(node.get("$ref", ""))
            if not reference:
                _overlay(merged, node)
            elif reference not in path:
                path = (*path, reference)
                _overlay(merged, self._followed(node))
        return merged, path

    def _plain(self, given: JsonObject, path: tuple[str, ...]) -> JsonObject:
        options, nullable = _alternatives(given)
        nodes = [one for option in options for one in _options(self.node(option, path))]
        if nullable:
            nodes = [{**node, "nullable": True} for node in nodes]
        match nodes:
            case []:
                return self._typed(given, path)
            case [node]:
                return {**_copied(given), **node}
            case _:
                return {"anyOf": nodes}

    def _typed(self, given: JsonObject, path: tuple[str, ...]) -> JsonObject:
        kind = _kind(given)
        result: JsonObject = {**_copied(given), "type": kind.upper()}
        if result.get("format") not in _FORMATS.get(kind, ()):
            result.pop("format", None)
        if kind == "string" and (values := _enum(given)):
            result["enum"] = values
        if kind == "array":
            result["items"] = self.node(given.get("items", {"type": "string"}), path)
        if kind == "object":
            self._add_properties(result, given, path)
        return result

    def _add_properties(self, result: JsonObject, given: JsonObject, path: tuple[str, ...]) -> None:
        properties = cast("JsonObject", given.get("properties") or {})
        if not properties:
            return
        result["properties"] = {key: self.node(value, path) for key, value in properties.items()}
        required = cast("Sequence[str]", given.get("required") or ())
        if known := [name for name in required if name in properties]:
            result["required"] = known


def _options(node: JsonObject) -> list[JsonObject]:
    """The alternatives of a translated schema: those of an `anyOf` join the ones around them."""
    return cast("list[JsonObject]", node.get("anyOf", [node]))


def _alternatives(given: JsonObject) -> tuple[list[object], bool]:
    """The alternatives of `anyOf`, `oneOf` or a list of types, and whether null is among them.

    An object with properties of its own keeps those: Gemini allows nothing beside `anyOf`.
    """
    named = given.get("type")
    if isinstance(named, list):
        kinds = cast("list[object]", named)
        return [{**given, "type": kind} for kind in kinds if kind != "null"], "null" in kinds
    options = cast("list[object]", given.get("anyOf") or given.get("oneOf") or [])
    if "properties" in given:
        return [], False
    some = [option for option in options if option != {"type": "null"}]
    return some, len(some) < len(options)


def _overlay(merged: JsonObject, part: JsonObject) -> None:
    for key, value in part.items():
        if key == "properties":
            known = cast("JsonObject", merged.get(key, {}))
            merged[key] = {**known, **cast("JsonObject", value)}
        elif key == "required":
            merged[key] = [*cast("list[str]", merged.get(key, [])), *cast("list[str]", value)]
        else:
            merged[key] = value


def _copied(given: JsonObject) -> JsonObject:
    return {key: given[key] for key in _COPIED if key in given}


def _kind(given: JsonObject) -> str:
    """The one type of a schema without alternatives, guessed where it is not named."""
    named = given.get("type")
    if named in _TYPES:
        return str(named)
    if "properties" in given:
        return "object"
    if "items" in given:
        return "array"
    match _values(given)[:1]:
        case [bool()]:
            return "boolean"
        case [int() | float()]:
            return "number"
        case _:
            return "string"


def _values(given: JsonObject) -> list[object]:
    return [given["const"]] if "const" in given else cast("list[object]", given.get("enum") or [])


def _enum(given: JsonObject) -> list[str]:
    """Gemini's enums hold non-empty strings only."""
    return [value for value in _values(given) if isinstance(value, str) and value]
