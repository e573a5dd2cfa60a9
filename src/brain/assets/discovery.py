"""Finding an MCP server's authorization server: RFC 9728, then RFC 8414 or OpenID discovery."""

import re
from collections.abc import Iterator
from typing import Final, cast
from urllib.parse import urljoin, urlsplit

import httpx2
import msgspec

from ...errors import SeptemberError
from ..channels.events import JsonObject
from .credentials import Endpoints
from .definitions import is_safe

_METADATA: Final = re.compile(r'resource_metadata="?([^",\s]+)"?')
_JSON: Final = {"Accept": "application/json"}
_LARGEST: Final = 256 * 1024


async def discover(http: httpx2.AsyncClient, url: str) -> Endpoints:
    """The endpoints for the MCP server at `url`. Raises MCP_CONNECTION_FAILED."""
    try:
        resource = await _resource(http, url)
        servers = cast("list[object]", resource.get("authorization_servers") or [])
        issuer = str(servers[0]) if servers else _origin(url)
        metadata = await _metadata(http, issuer)
    except httpx2.HTTPError as error:
        raise failed(f"{_origin(url)} cannot be reached: {type(error).__name__}") from error
    return _endpoints(issuer, metadata, resource, url)


def failed(message: str) -> SeptemberError:
    """A failure of a server's, as the wire knows it."""
    return SeptemberError("MCP_CONNECTION_FAILED", message)


def json_object(response: httpx2.Response) -> JsonObject:
    """The body as a JSON object; empty when it is none."""
    try:
        value = msgspec.json.decode(response.content[:_LARGEST])
    except msgspec.DecodeError:
        return {}
    return cast("JsonObject", value) if isinstance(value, dict) else {}


async def _resource(http: httpx2.AsyncClient, url: str) -> JsonObject:
    """The protected resource's metadata; empty for servers of before it was invented."""
    asked = await _sent(http, http.build_request("POST", url, json={}, headers=_JSON))
    named = _METADATA.search(asked.headers.get("www-authenticate", ""))
    places = [urljoin(url, named[1])] if named else []
    path = urlsplit(url).path.rstrip("/")
    well_known = f"{_origin(url)}/.well-known/oauth-protected-resource"
    for place in (*places, *((well_known + path,) if path else ()), well_known):
        found = await _get(http, place)
        if found is not None and _covers(str(found.get("resource") or url), url):
            return found
    return {}


async def _metadata(http: httpx2.AsyncClient, issuer: str) -> JsonObject:
    for place in _metadata_places(issuer):
        found = await _get(http, place)
        if found is not None:
            if str(found.get("issuer", "")).rstrip("/") != issuer.rstrip("/"):
                raise failed(f"{place} is the metadata of another issuer than {issuer}")
            return found
    origin = _origin(issuer)
    return {  # the defaults of MCP's 2025-03-26 revision
        "authorization_endpoint": f"{origin}/authorize",
        "token_endpoint": f"{origin}/token",
        "registration_endpoint": f"{origin}/register",
    }


def _metadata_places(issuer: str) -> Iterator[str]:
    origin, path = _origin(issuer), urlsplit(issuer).path.rstrip("/")
    yield f"{origin}/.well-known/oauth-authorization-server{path}"
    yield f"{origin}/.well-known/openid-configuration{path}"
    if path:
        yield f"{origin}{path}/.well-known/openid-configuration"


async def _get(http: httpx2.AsyncClient, url: str) -> JsonObject | None:
    if not is_safe(url):
        raise failed(f"{url}: metadata of credentials is read over TLS only")
    response = await _sent(http, http.build_request("GET", url, headers=_JSON))
    return json_object(response) or None if response.status_code == 200 else None


async def _sent(http: httpx2.AsyncClient, request: httpx2.Request) -> httpx2.Response:
    """Send it, twice if a server that refuses without reading has closed the connection."""
    try:
        return await http.send(request)
    except httpx2.RemoteProtocolError:
        return await http.send(request)


def _endpoints(issuer: str, metadata: JsonObject, resource: JsonObject, url: str) -> Endpoints:
    methods = cast("list[object] | None", metadata.get("code_challenge_methods_supported"))
    if methods is not None and "S256" not in methods:
        raise failed(f"{issuer} does not know PKCE with S256; it is not safe to connect")
    scopes = cast("list[object]", resource.get("scopes_supported") or [])
    return Endpoints(
        issuer=issuer,
        authorization=_endpoint(issuer, metadata, "authorization_endpoint"),
        token=_endpoint(issuer, metadata, "token_endpoint"),
        registration=_optional(issuer, metadata, "registration_endpoint"),
        revocation=_optional(issuer, metadata, "revocation_endpoint"),
        resource=str(resource.get("resource") or url) if resource else None,
        scopes=tuple(map(str, scopes)),
    )


def _endpoint(issuer: str, metadata: JsonObject, name: str) -> str:
    url = metadata.get(name)
    if not isinstance(url, str) or not is_safe(url):
        raise failed(f"{issuer} names no {name} that is safe to use")
    return url


def _optional(issuer: str, metadata: JsonObject, name: str) -> str | None:
    return _endpoint(issuer, metadata, name) if metadata.get(name) else None


def _covers(resource: str, url: str) -> bool:
    """Whether the metadata is about this server: the same origin, and a path that leads to it."""
    path = urlsplit(resource).path.rstrip("/")
    return _origin(resource) == _origin(url) and urlsplit(url).path.startswith(path)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
