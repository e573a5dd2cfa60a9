"""What a server says of its input is used only if it harms nobody."""

import pytest

from september.brain.agent.validation import problems
from september.brain.assets.schemas import ANYTHING, checked
from september.brain.channels.events import JsonObject
from september.brain.herald.conversation import ToolDef

BROKEN: list[JsonObject] = [
    {"type": "no-such-type"},
    {"properties": {"a": {"pattern": "("}}},
    {"$ref": "http://127.0.0.1:9/schema.json"},
    {"$ref": "file:///etc/passwd"},
    {"properties": {"a": {"$ref": "#/definitions/missing"}}},
    {"required": "a"},
]


@pytest.mark.parametrize("schema", BROKEN)
def test_a_schema_that_cannot_be_used_becomes_a_free_one(schema: JsonObject) -> None:
    assert checked(schema) == ANYTHING
    assert problems(ToolDef("x", "x", checked(schema)), {"a": 1}) == ""


def test_a_good_schema_is_kept_and_enforced() -> None:
    schema: JsonObject = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/number"}},
        "$defs": {"number": {"type": "number"}},
    }
    assert checked(schema) == schema
    assert "number" in problems(ToolDef("x", "x", schema), {"a": "one"})
