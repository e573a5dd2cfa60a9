"""The `ask_user` tool: the model's question to the person it works for."""

from typing import cast

from ..channels.events import JsonObject
from ..herald.conversation import ToolDef
from .tools import Tool, ToolContext, ToolOutput

DEFINITION = ToolDef(
    name="ask_user",
    description=(
        "Ask the person a question and wait for the answer, which may take days. Use it when the"
        " choice is theirs to make; put everything into one question and offer options if you can."
    ),
    input_schema={
        "type": "object",
        "properties": {
            "question": {"type": "string", "minLength": 1, "description": "The whole question."},
            "options": {
                "type": "array",
                "items": {"type": "string"},
                "maxItems": 10,
                "description": "Answers to choose from; free text is always possible.",
            },
        },
        "required": ["question"],
        "additionalProperties": False,
    },
)


async def ask_user(arguments: JsonObject, context: ToolContext) -> ToolOutput:
    """Ask, wait, and hand the answer to the model."""
    options = cast("list[str]", arguments.get("options", []))
    answer = await context.ask(
        context.tool_call_id,
        "question",
        str(arguments["question"]),
        options=tuple(options),
    )
    if answer.by != "user":
        return ToolOutput("nobody answered; decide without or stop here", "no_answer")
    return ToolOutput(answer.text or "", media=answer.media)


ASK_USER = Tool(DEFINITION, ask_user, repeatable=True)
