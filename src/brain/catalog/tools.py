"""Tool definitions: what the model sees, and which platform tool, skill or action does it."""

from importlib.resources.abc import Traversable
from typing import Annotated, Literal, NoReturn, TypeAlias

import jsonschema_rs
from msgspec import Meta, Struct

from ..channels.events import JsonObject
from . import files

ToolName: TypeAlias = Annotated[
    str, Meta(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?$", max_length=64)
]


class McpRef(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An action of a connected server."""

    server: str
    action: str


class Implementation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What runs: a platform tool or a skill by name, or an action of a server."""

    kind: Literal["platform", "skill", "mcp"]
    ref: str | McpRef


class CatalogTool(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`tools/<name>.json`. A person is asked at every call of a tool with either flag."""

    name: ToolName
    description: Annotated[str, Meta(pattern=r"\S")]
    input_schema: JsonObject
    implementation: Implementation
    requires_permission: bool = False
    high_cost: bool = False


def load_tools(folder: Traversable) -> dict[str, CatalogTool]:
    """The tools in `folder`, by name; none when there is no folder. Raises CatalogError."""
    found = (one for one in files.entries(folder) if one.name.endswith(".json"))
    return {tool.name: tool for tool in map(_load, found)}


def _load(file: Traversable) -> CatalogTool:
    tool = files.decode(file, CatalogTool)
    files.same_name(file, tool.name, file.name.removesuffix(".json"))
    _check_schema(file, tool.input_schema)
    _check_ref(file, tool.implementation)
    return tool


def _check_schema(file: Traversable, schema: JsonObject) -> None:
    if schema.get("type") != "object":
        raise files.CatalogError(file, "must be 'object'", "input_schema.type")
    try:
        jsonschema_rs.meta.validate(schema)
        jsonschema_rs.validator_for(schema, retriever=_refuse)
    except jsonschema_rs.ValidationError as error:
        path = ".".join(map(str, error.instance_path))
        field = f"input_schema.{path}" if path else "input_schema"
        raise files.CatalogError(file, error.message, field) from error
    except (ValueError, TypeError, jsonschema_rs.ReferencingError) as error:
        raise files.CatalogError(file, f"no usable JSON Schema: {error}", "input_schema") from error


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"{uri} is another document; put it under $defs")


def _check_ref(file: Traversable, implementation: Implementation) -> None:
    kind, by_name = implementation.kind, isinstance(implementation.ref, str)
    if kind == "mcp" and by_name:
        wanted = 'an object {"server": …, "action": …}'
    elif kind != "mcp" and not by_name:
        wanted = f"the name of a {kind} {'tool' if kind == 'platform' else ''}".rstrip()
    else:
        return
    raise files.CatalogError(file, f"must be {wanted} for kind {kind!r}", "implementation.ref")
