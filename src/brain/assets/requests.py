"""What a server may ask of the Engine: a model's answer (sampling), a person's (elicitation)."""

from collections.abc import Callable
from typing import Any, Final, cast

import jsonschema_rs
import msgspec

from ...errors import SeptemberError
from ..channels.events import JsonObject
from ..herald.conversation import ChatMessage, SystemPart, TextBlock
from ..herald.gateway import Gateway, ModelCall
from ..hitl import Answer
from .actions import Caller

SAMPLES: Final = 20
"""Model calls a connection may ask for before it is opened again: a server has no budget."""

SAMPLE_TOKENS: Final = 4096
_DECLINED: Final = frozenset({"no", "n", "decline", "cancel", ""})
_ACCEPTED: Final = frozenset({"yes", "y", "ok", "accept"})


class ServerRequests:
    """Answers one connection's requests."""

    def __init__(self, server: str, open_gateway: Callable[[], Gateway]) -> None:
        self._server = server
        self._open_gateway = open_gateway
        self._left = SAMPLES

    async def sample(self, params: Any) -> Any:
        """Ask the deployment's model, without tools; an error is the server's to handle."""
        from mcp_types import INVALID_REQUEST, CreateMessageResult, ErrorData, TextContent

        if self._left <= 0:
            return ErrorData(code=INVALID_REQUEST, message="no more model calls here")
        self._left -= 1
        try:
            completed = await self._open_gateway().complete(_model_call(params))
        except SeptemberError as error:
            return ErrorData(code=INVALID_REQUEST, message=error.message)
        blocks = completed.message.blocks
        text = "".join(block.text for block in blocks if isinstance(block, TextBlock))
        return CreateMessageResult(
            role="assistant",
            content=TextContent(type="text", text=text),
            model=completed.model,
            stop_reason="maxTokens" if completed.stop_reason == "max_tokens" else "endTurn",
        )

    async def elicit(self, params: Any, caller: Caller) -> Any:
        """Put the server's question to the person whose turn made the call."""
        from mcp_types import ElicitResult

        if caller.ask is None:
            return ElicitResult(action="decline")
        if params.mode == "url":
            question = f"{self._server}: {params.message}\nPlease open {params.url} and say yes."
            return ElicitResult(action=_verdict(await caller.ask(question, ("yes", "no"))))
        schema = cast("JsonObject", params.requested_schema)
        answer = await caller.ask(_question(self._server, params.message, schema), _options(schema))
        if _verdict(answer) != "accept":
            return ElicitResult(action=_verdict(answer))
        content = filled_in(schema, answer.text or "")
        if content is None:
            return ElicitResult(action="cancel")
        return ElicitResult(action="accept", content=cast("Any", content))


def filled_in(schema: JsonObject, text: str) -> JsonObject | None:
    """A person's free text as the object a server asked for; None when it does not fit.

    A JSON object is taken as it is; any other text is the value of the only field, or of the
    fields in the lines `name: value`.
    """
    fields = _fields(schema)
    given = _json_object(text)
    if given is None and len(fields) == 1:
        given = {next(iter(fields)): text.strip()}
    elif given is None:
        lines = (line.partition(":") for line in text.splitlines())
        given = {name.strip(): value.strip() for name, _, value in lines if name.strip() in fields}
    content = {name: _typed(fields.get(name, {}), value) for name, value in given.items()}
    return content if jsonschema_rs.is_valid(schema, content) else None


def _model_call(params: Any) -> ModelCall:
    system = (SystemPart(params.system_prompt),) if params.system_prompt else ()
    return ModelCall(
        system=system,
        messages=tuple(_message(one) for one in params.messages),
        max_tokens=min(params.max_tokens, SAMPLE_TOKENS),
        cache=False,
    )


def _message(message: Any) -> ChatMessage:
    content: Any = message.content
    blocks = _listed(content)
    texts = (str(getattr(one, "text", None) or f"[{one.type}]") for one in blocks)
    return ChatMessage(message.role, tuple(TextBlock(text) for text in texts))


def _listed(content: Any) -> list[Any]:
    return content if hasattr(content, "__len__") else [content]  # one block has no length


def _question(server: str, message: str, schema: JsonObject) -> str:
    fields = _fields(schema)
    lines = [f"{server} asks: {message}"]
    lines += [
        f"- {name}: {field.get('description') or field.get('title') or field.get('type', '')}"
        for name, field in fields.items()
    ]
    if len(fields) > 1:
        lines.append("Answer with one line `name: value` for each, or a JSON object; no declines.")
    return "\n".join(lines)


def _options(schema: JsonObject) -> tuple[str, ...]:
    fields = list(_fields(schema).values())
    if len(fields) != 1:
        return ()
    if fields[0].get("type") == "boolean":
        return ("true", "false")
    return tuple(str(one) for one in cast("list[object]", fields[0].get("enum") or ()))


def _fields(schema: JsonObject) -> dict[str, JsonObject]:
    return cast("dict[str, JsonObject]", schema.get("properties") or {})


def _verdict(answer: Answer) -> Any:
    if answer.by != "user":
        return "cancel"
    return "decline" if (answer.text or "").strip().lower() in _DECLINED else "accept"


def _json_object(text: str) -> JsonObject | None:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
    return cast("JsonObject", value) if isinstance(value, dict) else None


def _typed(field: JsonObject, value: object) -> object:
    """A value that came as text, as the field's type wants it."""
    if not isinstance(value, str):
        return value
    match field.get("type"):
        case "boolean":
            return value.strip().lower() in (_ACCEPTED | {"true", "1"})
        case "integer" | "number":
            try:
                return int(value) if field["type"] == "integer" else float(value)
            except ValueError:
                return value
        case "array":
            return [part.strip() for part in value.split(",") if part.strip()]
        case _:
            return value
