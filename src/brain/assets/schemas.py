"""Input schemas from strangers: kept only if they are valid and need nothing from elsewhere."""

from typing import Final, NoReturn

import jsonschema_rs

from ..channels.events import JsonObject

ANYTHING: Final[JsonObject] = {"type": "object"}
"""What stands for a schema that cannot be used; the server checks its input itself."""


def checked(schema: JsonObject) -> JsonObject:
    """The schema, or ANYTHING for one that is broken or refers to another document."""
    try:
        jsonschema_rs.validator_for(schema, retriever=_refuse)
    except (ValueError, TypeError, RecursionError, jsonschema_rs.ReferencingError):
        return ANYTHING
    return schema


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"{uri}: a schema must not make the Engine fetch anything")
