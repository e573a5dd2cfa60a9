"""The orchestrator's door: a product's key, the admin's key, or none, by path."""

from contextvars import ContextVar
from typing import Final, Protocol

import msgspec

from ...errors import SeptemberError
from ...fleet.instances import Product
from .. import errors
from ..cors import HeaderList
from ..door import sign_in
from ..pages.page import ORCHESTRATOR
from ..visit import Visit

OPEN: Final = frozenset({"/health", "/openapi.json", "/docs"})
"""Paths that need no key: they tell nothing about any product."""

_ADMIN: Final = ("/products", "/admin", "/traces", "/actors", "/observe")
_PLATFORM_HEADER: Final = "x-platform-key"
_ADMIN_HEADER: Final = "x-admin-key"

CALLER: Final[ContextVar[Product]] = ContextVar("september.http.orchestrator.caller")
"""The product whose key the request carries."""


class Keys(Protocol):
    """Who knows the keys."""

    async def product_with(self, key: str) -> Product | None:
        """The product that has this key."""
        ...

    def is_admin(self, key: str) -> bool:
        """Whether this is the admin's key."""
        ...


def scheme_of(path: str) -> str | None:
    """Which key a path asks for: PlatformKey, AdminKey, or None."""
    if path in OPEN:
        return None
    is_admins = any(path == prefix or path.startswith(f"{prefix}/") for prefix in _ADMIN)
    return "AdminKey" if is_admins else "PlatformKey"


class FleetDoor:
    """Checks keys; refuses in the nested envelope (contract, sections 18.2 and 18.3)."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def check(self, visit: Visit) -> None:
        """Find out who calls, before anything else of the request is looked at."""
        match scheme_of(visit.path):
            case "AdminKey":
                if not self._keys.is_admin(visit.headers.get(_ADMIN_HEADER, "")):
                    raise _refusal("INVALID_ADMIN_KEY", "X-Admin-Key", visit)
            case "PlatformKey":
                key = visit.headers.get(_PLATFORM_HEADER, "")
                product = await self._keys.product_with(key) if key else None
                if product is None:
                    raise _refusal("INVALID_PLATFORM_KEY", "X-Platform-Key", visit)
                CALLER.set(product)
            case _:
                pass

    def refuse(self, visit: Visit, error: SeptemberError) -> tuple[HeaderList, bytes]:
        """For a browser that looks at the page, one to give the key; or the nested envelope."""
        if error.status == 401 and visit.wants_page and visit.path == "/observe":
            return sign_in(ORCHESTRATOR)
        headers = [(name.encode(), value.encode()) for name, value in errors.headers(error)]
        return headers, envelope(error)


def envelope(error: SeptemberError) -> bytes:
    """The nested JSON body of a refusal."""
    body: dict[str, object] = {"code": error.code, "message": error.message}
    if error.details:
        body["details"] = error.details
    return msgspec.json.encode({"error": body}, enc_hook=str)


def _refusal(code: str, header: str, visit: Visit) -> SeptemberError:
    given = header.lower() in visit.headers
    what = f"the key in {header} is not known; send the right one"
    return SeptemberError(code, what if given else f"the header {header} is missing; send it")
