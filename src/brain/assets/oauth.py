"""OAuth 2.1 as a client: authorization code with PKCE, refresh, revocation.

Plain functions over HTTP. A failure is told by what it means for the credential: `Dead` must be
given again by a person, `Later` is kept and tried again.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Mapping
from typing import Final, TypeAlias
from urllib.parse import quote_plus, urlencode

import httpx2
import msgspec

from ...errors import SeptemberError
from ..channels.events import JsonObject
from ..clock import now_ms
from .credentials import Endpoints, Flow, Grant, OauthClient
from .discovery import failed, json_object

TIMEOUT_S: Final = 15.0

_ERROR_CODE: Final = re.compile(r"[a-z_]{1,40}")
_DEAD: Final = frozenset({"invalid_grant", "invalid_client", "unauthorized_client"})


class Dead(msgspec.Struct, frozen=True):
    """The credential is of no use any more: a person must connect again."""

    reason: str


class Later(msgspec.Struct, frozen=True):
    """The server could not answer: the credential is kept. Seconds to wait, if it said so."""

    reason: str
    retry_after: float | None = None


Outcome: TypeAlias = Grant | Dead | Later


def http_client() -> httpx2.AsyncClient:
    """A client for an authorization server: it follows no redirects, for they leak secrets."""
    return httpx2.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False)


def new_verifier() -> str:
    """A PKCE code verifier (RFC 7636, section 4.1)."""
    return secrets.token_urlsafe(48)


def authorization_url(flow: Flow, state: str) -> str:
    """Where the person goes to consent."""
    digest = hashlib.sha256(flow.verifier.encode()).digest()
    query = {
        "response_type": "code",
        "client_id": flow.client.client_id,
        "redirect_uri": flow.client.redirect_uri,
        "state": state,
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
        **({"scope": " ".join(flow.scopes)} if flow.scopes else {}),
        **({"resource": flow.endpoints.resource} if flow.endpoints.resource else {}),
    }
    joint = "&" if "?" in flow.endpoints.authorization else "?"
    return f"{flow.endpoints.authorization}{joint}{urlencode(query)}"


async def register(
    http: httpx2.AsyncClient, endpoints: Endpoints, redirect_uri: str
) -> OauthClient:
    """Register as a client (RFC 7591). Raises MCP_CONNECTION_FAILED."""
    if endpoints.registration is None:
        raise failed(
            f"{endpoints.issuer} does not register clients by itself; register one there and set"
            " oauth.client_id in the server's definition"
        )
    wanted = {
        "client_name": "September Engine",
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        **({"scope": " ".join(endpoints.scopes)} if endpoints.scopes else {}),
    }
    try:
        response = await http.post(endpoints.registration, json=wanted)
    except httpx2.HTTPError as error:
        raise failed(f"{endpoints.issuer} cannot be reached: {type(error).__name__}") from error
    given = json_object(response)
    client_id = given.get("client_id")
    if response.status_code not in (200, 201) or not isinstance(client_id, str):
        raise failed(f"{endpoints.issuer} refused to register a client: {_told(response, given)}")
    secret = str(given.get("client_secret") or "")
    method = given.get("token_endpoint_auth_method") or ("client_secret_post" if secret else "none")
    return OauthClient(
        client_id=client_id, client_secret=secret, method=str(method), redirect_uri=redirect_uri
    )


async def exchange(http: httpx2.AsyncClient, flow: Flow, code: str) -> Grant:
    """Turn the code into tokens. Raises SeptemberError."""
    outcome = await _token(
        http,
        flow.endpoints,
        flow.client,
        {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": flow.client.redirect_uri,
            "code_verifier": flow.verifier,
        },
    )
    match outcome:
        case Grant():
            return msgspec.structs.replace(outcome, scopes=outcome.scopes or flow.scopes)
        case Dead(reason):
            raise SeptemberError(
                "INVALID_REQUEST", f"the code was refused ({reason}); begin again: /assets/connect"
            )
        case Later(reason):
            raise failed(f"the code could not be exchanged: {reason}")


async def renew(
    http: httpx2.AsyncClient, endpoints: Endpoints, client: OauthClient, grant: Grant
) -> Outcome:
    """Fresh tokens; a server that does not rotate leaves the refresh token as it is."""
    if not grant.refresh:
        return Dead("the server gave no refresh token")
    outcome = await _token(
        http, endpoints, client, {"grant_type": "refresh_token", "refresh_token": grant.refresh}
    )
    if isinstance(outcome, Grant):
        return msgspec.structs.replace(
            outcome,
            refresh=outcome.refresh or grant.refresh,
            scopes=outcome.scopes or grant.scopes,
        )
    return outcome


async def revoke(
    http: httpx2.AsyncClient, endpoints: Endpoints, client: OauthClient, grant: Grant
) -> bool:
    """Revoke both tokens (RFC 7009); whether the server says so. Never raises for HTTP."""
    if endpoints.revocation is None:
        return False
    done = True
    for token, hint in ((grant.refresh, "refresh_token"), (grant.access, "access_token")):
        if token:
            form, headers = _as_client(client, {"token": token, "token_type_hint": hint})
            try:
                answer = await http.post(endpoints.revocation, data=form, headers=headers)
                status = answer.status_code
                if status == 400 and not client.client_secret:
                    # The SDK's own server demands the parameter, which may be empty.
                    form["client_secret"] = ""
                    again = await http.post(endpoints.revocation, data=form, headers=headers)
                    status = again.status_code
                done = done and status == 200
            except httpx2.HTTPError:
                done = False
    return done


async def _token(
    http: httpx2.AsyncClient,
    endpoints: Endpoints,
    client: OauthClient,
    parameters: Mapping[str, str],
) -> Outcome:
    resource = {"resource": endpoints.resource} if endpoints.resource else {}
    form, headers = _as_client(client, {**parameters, **resource})
    try:
        response = await http.post(endpoints.token, data=form, headers=headers)
    except httpx2.HTTPError as error:
        return Later(f"{endpoints.issuer} cannot be reached: {type(error).__name__}")
    given = json_object(response)
    if response.status_code == 200:
        return _grant(given)
    if 400 <= response.status_code < 500 and given.get("error") in _DEAD:
        return Dead(str(given["error"]))
    return Later(_told(response, given), _seconds(response.headers.get("retry-after")))


def _grant(given: JsonObject) -> Outcome:
    access, lifetime = given.get("access_token"), given.get("expires_in")
    if not isinstance(access, str) or not access:
        return Later("the answer holds no access_token")
    try:
        seconds = float(lifetime) if isinstance(lifetime, int | float | str) else None
    except ValueError:
        seconds = None
    return Grant(
        access=access,
        refresh=str(given.get("refresh_token") or ""),
        expires_at=None if seconds is None else now_ms() + int(seconds * 1000),
        scopes=tuple(str(given.get("scope") or "").split()),
    )


def _as_client(
    client: OauthClient, parameters: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """The form and headers with which the client proves who it is (RFC 6749, section 2.3.1)."""
    form, headers = dict(parameters), {"Accept": "application/json"}
    if client.method == "client_secret_basic":
        pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return form, headers
    form["client_id"] = client.client_id
    if client.client_secret:
        form["client_secret"] = client.client_secret
    return form, headers


def _told(response: httpx2.Response, given: JsonObject) -> str:
    """The error code if it looks like one, and the status; never the server's own words."""
    code = str(given.get("error") or "")
    return f"{code} " * bool(_ERROR_CODE.fullmatch(code)) + f"(HTTP {response.status_code})"


def _seconds(header: str | None) -> float | None:
    return float(header) if header is not None and header.isascii() and header.isdecimal() else None
