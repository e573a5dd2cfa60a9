"""A tool's input schema as every provider takes it: one object at the top."""

from collections.abc import Iterable
from typing import cast

from ..channels.events import JsonObject

_ALTERNATIVES = ("anyOf", "oneOf")
_REFUSED = frozenset({*_ALTERNATIVES, "allOf", "not", "enum", "const", "$ref", "type"})


def object_schema(schema: JsonObject) -> JsonObject:
    """The schema with `type: object` at its top and nothing beside it that combines schemas.

    Anthropic, OpenAI and Gemini all refuse `anyOf`, `oneOf`, `allOf`, `enum` and `not` there, and
    with it the whole request. The parts are united, which widens the schema: the arguments are
    checked against the real one before the tool runs.
    """
    result: JsonObject = {"type": "object"}
    result.update((key, value) for key, value in schema.items() if key not in _REFUSED)
    if isinstance(reference := schema.get("$ref"), str):
        _add(result, resolved(schema, reference), binding=True)
    for part in _parts(schema, ("allOf",)):
        _add(result, part, binding=True)
    for part in _parts(schema, _ALTERNATIVES):
        _add(result, part, binding=False)
    return result


def resolved(document: JsonObject, reference: str) -> JsonObject:
    """What a local `$ref` (a JSON pointer) points at; nothing when it leads nowhere."""
    found: object = document
    for step in reference.removeprefix("#").strip("/").split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        if key:
            found = cast("JsonObject", found).get(key) if isinstance(found, dict) else None
    return cast("JsonObject", found) if isinstance(found, dict) else {}


def _parts(schema: JsonObject, keywords: Iterable[str]) -> Iterable[JsonObject]:
    for keyword in keywords:
        for part in cast("list[object]", schema.get(keyword) or ()):
            if isinstance(part, dict):
                node = cast("JsonObject", part)
                reference = node.get("$ref")
                yield resolved(schema, reference) if isinstance(reference, str) else node


def _add(result: JsonObject, part: JsonObject, *, binding: bool) -> None:
    """Add a part's properties, and what it requires if it always holds (`binding`)."""
    if properties := part.get("properties"):
        known = cast("JsonObject", result.get("properties") or {})
        result["properties"] = {**cast("JsonObject", properties), **known}
        result.pop("additionalProperties", None)
    if binding and (required := part.get("required")):
        names = [*cast("list[str]", result.get("required") or ()), *cast("list[str]", required)]
        result["required"] = list(dict.fromkeys(names))
