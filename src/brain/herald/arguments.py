"""Tool arguments as a model writes them: JSON text that may be broken."""

import json
from typing import cast

from ..channels.events import JsonObject

_RAW = "_raw"
_ERROR = "_error"


def parse_arguments(text: str) -> JsonObject:
    """The arguments of a tool call; blank text means none.

    Text that is not one JSON object becomes `{"_raw": text, "_error": reason}`: still an object,
    so the call can be stored and replayed, and `unreadable` tells it from real arguments.
    """
    if not text.strip():
        return {}
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        return {_RAW: text, _ERROR: f"the arguments are not valid JSON ({error})"}
    if isinstance(value, dict):
        return cast("JsonObject", value)
    return {_RAW: text, _ERROR: "the arguments must be one JSON object"}


def unreadable(arguments: JsonObject) -> str | None:
    """Why a tool call cannot run, for its error result; None when the arguments were readable."""
    if arguments.keys() != {_RAW, _ERROR}:
        return None
    return str(arguments[_ERROR])
