"""Server definitions: which MCP servers may be connected, how, and with what permissions."""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias, cast
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from ...errors import SeptemberError
from ..catalog import files
from ..channels.events import JsonObject

OUTPUT_LIMIT: Final = 128 * 1024

Transport: TypeAlias = Literal["stdio", "http", "sse", "websocket"]
AuthMethod: TypeAlias = Literal["none", "static", "oauth"]

ServerName: TypeAlias = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9_-]{0,31}$")]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=3600)]

SECRET_FIELDS: Final = frozenset({"api_key", "client_secret", "env", "headers"})
"""Fields of a configuration that go to the vault and nowhere else."""

CALL_FIELDS: Final = SECRET_FIELDS | {"args", "roots", "timeout_s"}
"""What a call may say about a server that the catalog defines."""

_SCHEMES: Final = {"http": ("http", "https"), "sse": ("http", "https"), "websocket": ("ws", "wss")}
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_SEPARATOR: Final = re.compile(r"\s")


class OAuthSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What discovery and registration need not find out. `client_id` None means: register."""

    scopes: tuple[str, ...] = ()
    client_id: str | None = None


class ServerDefinition(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One MCP server.

    `command`, `args`, `readable` and `roots` are for stdio: `readable` folders are shown to the
    server read-only, `roots` may be written. A static key goes into the variable `key_env`, or
    into the header `key_header` after `key_prefix`. `requires_permission` are patterns of
    actions that ask a person at every call. `output_limit` is in characters of an answer; the
    model sees no more of it, and the whole is in a file of the workspace.
    """

    name: ServerName
    transport: Transport
    display_name: str = ""
    description: str = ""
    command: str = ""
    args: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    url: str = ""
    auth_method: AuthMethod = "none"
    oauth: OAuthSettings = OAuthSettings()
    key_env: str = ""
    key_header: str = "Authorization"
    key_prefix: str = "Bearer "
    requires_permission: tuple[str, ...] = ()
    timeout_s: Seconds = 60.0
    connect_timeout_s: Seconds = 20.0
    output_limit: Annotated[int, Meta(ge=1024, le=1024 * 1024)] = OUTPUT_LIMIT

    def asks(self, action: str) -> bool:
        """Whether a person is asked before `action` runs."""
        return any(fnmatchcase(action, pattern) for pattern in self.requires_permission)


class StaticSecrets(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The secret part of a configuration."""

    api_key: str = ""
    client_secret: str = ""
    env: dict[str, str] = {}
    headers: dict[str, str] = {}

    def __repr__(self) -> str:
        return "StaticSecrets(***)"

    @property
    def values(self) -> tuple[str, ...]:
        """Every secret value, for the scrubber."""
        single = (self.api_key, self.client_secret)
        return tuple(filter(None, (*single, *self.env.values(), *self.headers.values())))


def configured(
    name: str,
    known: ServerDefinition | None,
    config: JsonObject | None,
    allowed: Sequence[Path] = (),
) -> tuple[ServerDefinition, StaticSecrets]:
    """The definition and the secrets of a call. Raises SeptemberError INVALID_REQUEST.

    A server of the catalog takes CALL_FIELDS only; any other is defined by the call itself. The
    roots that a call names must lie inside `allowed`.
    """
    given = dict(config or {})
    secrets = {key: given.pop(key) for key in tuple(given) if key in SECRET_FIELDS}
    if known is not None:
        _refuse_fields(name, given)
        plain = cast("JsonObject", msgspec.to_builtins(known))
    elif not config:
        raise _invalid("server_name", f"no server {name!r} in the catalog; send server_config too")
    else:
        if "readable" in given:
            raise _invalid("server_config", "readable is for the catalog's servers; use roots")
        plain = {"transport": _guessed(given)}
    try:
        definition = msgspec.convert({**plain, **given, "name": name}, ServerDefinition)
        kept = msgspec.convert(secrets, StaticSecrets)
    except msgspec.ValidationError as error:
        raise _invalid("server_config", str(error)) from error
    _check(definition, kept)
    if "roots" in given:
        _check_roots(definition.roots, allowed)
    return definition, kept


def load_servers(folder: Traversable) -> dict[str, ServerDefinition]:
    """The server definitions `*.json` in a catalog's folder; none when there is no folder.

    Raises CatalogError naming file and field.
    """
    found = (one for one in files.entries(folder) if one.name.endswith(".json"))
    return {one.name: one for one in map(_load, found)}


def _load(file: Traversable) -> ServerDefinition:
    definition = files.decode(file, ServerDefinition)
    try:
        _check(definition, None)
    except SeptemberError as error:
        field = str(error.details["field"])
        raise files.CatalogError(file, error.message.removeprefix(f"{field}: "), field) from error
    files.same_name(file, definition.name, file.name.removesuffix(".json"))
    return definition


def _guessed(given: JsonObject) -> Transport:
    """The transport that a configuration means when it names none."""
    if "command" in given:
        return "stdio"
    return "websocket" if str(given.get("url", "")).startswith("ws") else "http"


def _refuse_fields(name: str, given: JsonObject) -> None:
    stray = sorted(given.keys() - CALL_FIELDS)
    if stray:
        raise _invalid(
            "server_config",
            f"{', '.join(stray)}: {name!r} is defined by the catalog;"
            f" a call may set {', '.join(sorted(CALL_FIELDS))}",
        )


def _check(definition: ServerDefinition, secrets: StaticSecrets | None) -> None:
    """What the types alone do not say."""
    if definition.transport == "stdio":
        if not definition.command:
            raise _invalid("command", "a stdio server needs a command")
        if definition.auth_method == "oauth":
            raise _invalid("auth_method", "oauth is for servers with a url; use static")
    else:
        _check_url(definition)
    if secrets is not None and definition.auth_method == "static" and not secrets.values:
        raise _invalid("server_config", f"{definition.name} needs a key: send api_key")


def _check_roots(roots: Iterable[str], allowed: Sequence[Path]) -> None:
    """A call must not open the host to a server: ALLOWED_ROOTS is as far as it goes."""
    inside = [folder.resolve() for folder in allowed]
    for root in roots:
        if not any(Path(root).resolve().is_relative_to(folder) for folder in inside):
            raise _invalid("roots", f"{root} is not inside ALLOWED_ROOTS")


def _check_url(definition: ServerDefinition) -> None:
    parts = urlsplit(definition.url)
    allowed = _SCHEMES[definition.transport]
    if parts.scheme not in allowed or not parts.hostname or _SEPARATOR.search(definition.url):
        raise _invalid("url", f"must begin with {' or '.join(f'{one}://' for one in allowed)}")
    if parts.username or parts.password:
        raise _invalid("url", "must not hold credentials; send api_key or headers")
    if definition.auth_method != "none" and not is_safe(definition.url):
        raise _invalid("url", "credentials go over TLS only; use https:// or wss://")


def is_safe(url: str) -> bool:
    """Whether credentials may be sent there: over TLS, or to this machine."""
    parts = urlsplit(url)
    return parts.scheme in ("https", "wss") or parts.hostname in _LOOPBACK


def _invalid(field: str, message: str) -> SeptemberError:
    return SeptemberError("INVALID_REQUEST", f"{field}: {message}", {"field": field})
