"""The page docs/protocol.md, made from the event vocabulary and the table of error codes.

The text after a field is the string that stands below it in `channels/events.py`; Python keeps
no such string, so the source is read.
"""

import ast
import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Final, get_args

from ..brain.channels import events
from ..errors import STATUS

_INTRODUCTION: Final = """\
# The stream: events and errors

<!-- made by `september docs protocol`; a test keeps it so -->

`POST /execute` and `GET /execute/replay` answer `text/event-stream`. A frame is

```
id: 42
event: text_delta
data: {"text":"Hello"}
```

`id` counts all events of the brain, and an event is in the brain before it is sent. To go on after
a cut, send the last id: `GET /execute/replay?task_id=…` with the header `Last-Event-ID: 42`. To
post without the risk of running a turn twice, send an `Idempotency-Key`.

A turn opens with `thread_lifecycle` *started*. Its last event is `thread_lifecycle` *completed* or
*cancelled*, or the `error` that follows *errored*. A reader must skip events and fields that it
does not know.

An event that comes from a sub-agent, and not from the agent that the user speaks to, has one more
field: `sub_agent`, `{agent, call_id}`. `call_id` is the `tool_call_id` of the call that runs it;
for one further in, those of all calls that lead to it, outermost first, joined by `/`. To show the
answer alone, leave out the `text_delta` events that have it.

## Events
"""

_ERRORS: Final = """
## Errors

A refusal before the stream begins is JSON, `{"error": code, "message": text, "details": {…}}`, with
the status below; inside a stream it is the event `error` with the same fields. The codes do not
change; the messages may.

| code | status |
|---|---|
"""


def protocol_page() -> str:
    """The page as Markdown."""
    sections = "".join(map(_section, _documented(events)))
    errors = "".join(f"| `{code}` | {status} |\n" for code, status in STATUS.items())
    return _INTRODUCTION + sections + _ERRORS + errors


def _documented(module: ModuleType) -> Iterator[tuple[str, ast.ClassDef]]:
    """Name on the wire and definition of each event, in the order of the source."""
    names = {event.__name__: event.type for event in get_args(events.Event)}
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef) and node.name in names:
            yield names[node.name], node


def _section(named: tuple[str, ast.ClassDef]) -> str:
    name, definition = named
    summary = " ".join((ast.get_docstring(definition) or "").split())
    head = f"\n### `{name}`\n\n{summary}\n\n"
    return head + "| field | type | meaning |\n|---|---|---|\n" + "".join(_fields(definition))


def _fields(definition: ast.ClassDef) -> Iterator[str]:
    body = definition.body
    for node, after in zip(body, [*body[1:], None], strict=True):
        match node:
            case ast.AnnAssign(target=ast.Name(id=field), annotation=kind) if field != "type":
                yield f"| `{field}` | {_type(kind)} | {_meaning(after)} |\n"
            case _:
                pass


def _meaning(node: ast.stmt | None) -> str:
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return " ".join(text.split())
        case _:
            return ""


_JSON_TYPES: Final = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "None": "null",
    "JsonObject": "object",
    "UnsetType": "may be absent",
}


def _type(node: ast.expr) -> str:
    """A field's type as a reader of JSON would say it."""
    match node:
        case ast.BinOp(left=left, right=right):
            return f"{_type(left)} or {_type(right)}".replace(" or may", ", may")
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            options = choices.elts if isinstance(choices, ast.Tuple) else [choices]
            return " \\| ".join(f'`"{ast.literal_eval(option)}"`' for option in options)
        case ast.Subscript(value=ast.Name(id="list"), slice=item):
            return f"array of {_type(item)}"
        case ast.Name(id="HookOutcome"):
            return " \\| ".join(f'`"{outcome}"`' for outcome in get_args(events.HookOutcome))
        case ast.Name(id="RetrievedItem"):
            return "`{store, id, score}`"
        case _:
            text = ast.unparse(node)
            return _JSON_TYPES.get(text, text)
