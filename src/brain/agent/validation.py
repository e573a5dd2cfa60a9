"""Checking a tool call's input against the tool's schema, in words a model can act on."""

from functools import lru_cache

import jsonschema_rs
import msgspec

from ..channels.events import JsonObject
from ..herald.conversation import ToolDef

SHOWN = 5
"""How many problems are told at once."""


def problems(tool: ToolDef, arguments: JsonObject) -> str:
    """What is wrong with the input, a line each; empty when nothing is."""
    validator = _validator(msgspec.json.encode(tool.input_schema))
    found = [
        f"{'.'.join(map(str, error.instance_path)) or 'input'}: {error.message}"
        for error in validator.iter_errors(arguments)
    ]
    return "\n".join(found[:SHOWN])


@lru_cache(maxsize=512)
def _validator(schema: bytes) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(schema.decode())
