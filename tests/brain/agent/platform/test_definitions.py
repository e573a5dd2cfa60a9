"""Tool definitions as models and providers need them."""

import jsonschema_rs
import msgspec
import pytest

from september.brain.agent.platform.tools import platform_tools
from september.brain.agent.tools import Tool
from september.brain.agent.validation import problems


class Described(msgspec.Struct):
    description: str


TOOLS = platform_tools()


def test_the_platform_tools_are_these() -> None:
    assert set(TOOLS) == {
        *("read_file", "write_file", "grep", "find", "bash"),
        *("memory_episode_write", "knowledge_search"),
        *("working_memory_set", "working_memory_get"),
    }


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS.keys())
def test_every_schema_is_valid_closed_and_described(tool: Tool) -> None:
    schema = tool.definition.input_schema
    jsonschema_rs.meta.validate(schema)
    assert schema["additionalProperties"] is False
    properties = schema["properties"]
    described = msgspec.convert(properties, dict[str, Described])
    assert all(len(each.description) > 15 for each in described.values())
    assert len(tool.definition.description) > 40
    assert problems(tool.definition, {"surprise": 1})
