"""How a platform tool says no: a short code, and a text that tells the model what to do."""

from collections.abc import Callable
from functools import wraps

from ...channels.events import JsonObject
from ...herald.conversation import ToolDef
from ..tools import Tool, ToolContext, ToolFunction, ToolOutput


class Refusal(Exception):
    """The call cannot be carried out as asked."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def platform_tool(
    name: str, description: str, properties: JsonObject, *, required: tuple[str, ...] = ()
) -> Callable[[ToolFunction], Tool]:
    """Make a Tool of a function; its refusals become its answers."""
    schema: JsonObject = {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }

    def make(run: ToolFunction) -> Tool:
        @wraps(run)
        async def answering(arguments: JsonObject, context: ToolContext) -> ToolOutput:
            try:
                return await run(arguments, context)
            except Refusal as refusal:
                return ToolOutput(refusal.text, refusal.code)

        return Tool(ToolDef(name, description, schema), answering)

    return make


def text_of(arguments: JsonObject, name: str, default: str = "") -> str:
    """A text of the input, which has been checked against the schema."""
    value = arguments.get(name, default)
    return value if isinstance(value, str) else default


def number_of(arguments: JsonObject, name: str, default: float) -> float:
    """A number of the input."""
    value = arguments.get(name, default)
    return value if isinstance(value, int | float) else default
