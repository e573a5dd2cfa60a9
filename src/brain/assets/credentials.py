"""What is kept sealed of a connection: static secrets, an OAuth grant, a flow under way."""

from msgspec import Struct

from .definitions import StaticSecrets


class Endpoints(Struct, frozen=True, kw_only=True):
    """An authorization server, and the resource that its tokens are for (RFC 8414, 9728, 8707)."""

    issuer: str
    authorization: str
    token: str
    registration: str | None = None
    revocation: str | None = None
    resource: str | None = None
    scopes: tuple[str, ...] = ()


class OauthClient(Struct, frozen=True, kw_only=True):
    """Who we are to an authorization server; `method` is how the token endpoint is told."""

    client_id: str
    client_secret: str = ""
    method: str = "none"
    redirect_uri: str = ""


class Grant(Struct, frozen=True, kw_only=True):
    """Tokens. `expires_at` is in milliseconds; None when the server did not say."""

    access: str
    refresh: str = ""
    expires_at: int | None = None
    scopes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "Grant(***)"


class Credential(Struct, frozen=True, kw_only=True):
    """Everything secret about one connection."""

    static: StaticSecrets = StaticSecrets()
    endpoints: Endpoints | None = None
    client: OauthClient | None = None
    grant: Grant | None = None

    def __repr__(self) -> str:
        return "Credential(***)"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every value that must never be seen."""
        client = self.client.client_secret if self.client else ""
        tokens = (self.grant.access, self.grant.refresh) if self.grant else ()
        return tuple(filter(None, (*self.static.values, client, *tokens)))


class Flow(Struct, frozen=True, kw_only=True):
    """An authorization that waits for its callback; it outlives a restart."""

    ref_id: str
    verifier: str
    endpoints: Endpoints
    client: OauthClient
    scopes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "Flow(***)"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every value that must never be seen."""
        return tuple(filter(None, (self.verifier, self.client.client_secret)))
