"""OpenAPI 3.1, generated from the endpoint table and the structs it names."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final, Protocol, TypeAlias, get_args

import msgspec

from ..brain.channels.events import Event, JsonObject
from ..errors import STATUS
from .door import KEYLESS
from .endpoint import Nothing
from .wire import Input

Schema: TypeAlias = dict[str, Any]

_EVENTS: Final = get_args(Event)

_WITH_INPUT: Final = ("INVALID_REQUEST",)
_WITH_BODY: Final = ("PAYLOAD_TOO_LARGE",)


class Described(Protocol):
    """What an endpoint's description is made of; see `endpoint.Endpoint`."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def takes(self) -> type[Input]: ...
    @property
    def answers(self) -> object: ...
    @property
    def refusals(self) -> tuple[str, ...]: ...
    @property
    def headers(self) -> Mapping[str, str] | None: ...
    @property
    def sample(self) -> Mapping[str, object] | None: ...
    @property
    def streams(self) -> bool: ...
    @property
    def has_body(self) -> bool: ...


class Api(msgspec.Struct, frozen=True):
    """What is said of an API as a whole.

    `keys` are the headers that hold its keys, by scheme; `asks` says which scheme a path needs,
    None for none. `anywhere` are refusals of every request with a key. `texts` are the media
    types of paths that answer neither JSON nor a page.
    """

    title: str
    keys: Mapping[str, str]
    asks: Callable[[str], str | None]
    statuses: Mapping[str, int]
    anywhere: Mapping[str, tuple[str, ...]]
    error: Schema
    events: tuple[Any, ...] = ()
    texts: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])


def error_schema(statuses: Mapping[str, int]) -> Schema:
    """The flat envelope with these codes (contract, section 2.1)."""
    return {
        "title": "Error",
        "description": "Every answer that is not 2xx. `error` is stable, `message` is for people.",
        "type": "object",
        "required": ["error", "message"],
        "properties": {
            "error": {"type": "string", "enum": sorted(statuses)},
            "message": {"type": "string"},
            "details": {"type": "object"},
        },
    }


ENGINE: Final = Api(
    title="September Engine",
    keys={"EngineKey": "X-Engine-Key"},
    asks=lambda path: None if path in KEYLESS else "EngineKey",
    statuses=STATUS,
    anywhere={"EngineKey": ("INVALID_KEY", "KEY_ROTATION_PENDING", "INTERNAL")},
    error=error_schema(STATUS),
    events=_EVENTS,
    texts={"/metrics": "text/plain"},
)


def document(endpoints: Sequence[Described], api: Api = ENGINE) -> JsonObject:
    """The OpenAPI document of these endpoints."""
    types = [*_types(endpoints), *api.events]
    schemas, components = msgspec.json.schema_components(
        types, schema_hook=_anything, ref_template="#/components/schemas/{name}"
    )
    known = dict(zip(map(repr, types), schemas, strict=True))
    paths: dict[str, Schema] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(
            endpoint, api, known, components
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": api.title, "version": version("september")},
        "security": [{next(iter(api.keys)): []}],
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": api.error},
            "securitySchemes": {
                scheme: {"type": "apiKey", "in": "header", "name": header}
                for scheme, header in api.keys.items()
            },
        },
    }


def _anything(kind: type) -> Schema:
    """The schema of a value that is passed on as it is."""
    if kind is object:
        return {"description": "Any JSON value"}
    raise NotImplementedError


def _types(endpoints: Sequence[Described]) -> Iterator[object]:
    for endpoint in endpoints:
        yield endpoint.takes
        if endpoint.answers is not None:
            yield endpoint.answers


def _operation(
    endpoint: Described,
    api: Api,
    known: Mapping[str, Schema],
    components: Mapping[str, Schema],
) -> Schema:
    words = [endpoint.method.lower(), *endpoint.path.strip("/").replace("/", " ").split()]
    operation: Schema = {
        "operationId": "_".join(word.strip("{}").replace("-", "_") for word in words),
        "summary": endpoint.summary,
        "tags": [endpoint.path.split("/")[1].removesuffix(".json")],
        "parameters": list(_parameters(endpoint, components)),
        "responses": {
            "200": _success(endpoint, api, known),
            **_refusals(endpoint, api),
        },
    }
    if endpoint.has_body:
        content: Schema = {"schema": known[repr(endpoint.takes)]}
        if endpoint.sample:
            content["example"] = endpoint.sample
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    asked = api.asks(endpoint.path)
    if asked != next(iter(api.keys)):
        operation["security"] = [{asked: []}] if asked else []
    return operation


def _parameters(endpoint: Described, components: Mapping[str, Schema]) -> Iterator[Schema]:
    for part in endpoint.path.split("/"):
        if part.startswith("{"):
            yield _parameter(part.strip("{}"), "path", {"type": "string"}, required=True)
    if not endpoint.has_body:
        fields = components.get(endpoint.takes.__name__, {})
        for name, schema in fields.get("properties", {}).items():
            yield _parameter(name, "query", schema, required=name in fields["required"])
    for name, meaning in (endpoint.headers or {}).items():
        yield _parameter(name, "header", {"type": "string", "description": meaning})


def _parameter(name: str, where: str, schema: Schema, *, required: bool = False) -> Schema:
    kept = {key: value for key, value in schema.items() if key != "description"}
    parameter: Schema = {"name": name, "in": where, "required": required, "schema": kept}
    if "description" in schema:
        parameter["description"] = schema["description"]
    return parameter


def _success(endpoint: Described, api: Api, known: Mapping[str, Schema]) -> Schema:
    if endpoint.streams:
        events = {kind.type: known[repr(kind)] for kind in api.events}
        content: Schema = {"text/event-stream": {"schema": {"type": "string"}, "x-events": events}}
        return {"description": "Server-sent events: `id`, `event`, `data`", "content": content}
    if endpoint.answers is None:
        kind = api.texts.get(endpoint.path, "text/html")
        return {"description": "A text", "content": {kind: {"schema": {"type": "string"}}}}
    schema = known[repr(endpoint.answers)]
    return {"description": "Done", "content": {"application/json": {"schema": schema}}}


def _refusals(endpoint: Described, api: Api) -> Schema:
    by_status: dict[str, list[str]] = {}
    for code in _codes(endpoint, api):
        by_status.setdefault(str(api.statuses[code]), []).append(code)
        if code == "INVALID_REQUEST":
            by_status.setdefault("422", []).append(code)
    schema = {"$ref": "#/components/schemas/Error"}
    return {
        status: {
            "description": ", ".join(codes),
            "content": {"application/json": {"schema": schema}},
        }
        for status, codes in sorted(by_status.items())
    }


def _codes(endpoint: Described, api: Api) -> Iterable[str]:
    keyed = api.anywhere.get(api.asks(endpoint.path) or "", ())
    given = () if _takes_nothing(endpoint.takes) else _WITH_INPUT
    body = _WITH_BODY if endpoint.has_body else ()
    return (*keyed, *given, *body, *endpoint.refusals)


def _takes_nothing(kind: type[Input]) -> bool:
    return kind is Nothing
