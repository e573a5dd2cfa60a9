"""The orchestrator's door: a product's key, the admin's key, or none, by path."""

import re
from contextvars import ContextVar
from typing import Final, Protocol

import msgspec

from ...errors import SeptemberError
from ...fleet.discovery import Seen
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

_ADMIT: Final = re.compile(r"/engines/(.+)/admit", re.DOTALL)


class Caller(msgspec.Struct, frozen=True):
    """Who asks: a product, and in an admit the user's Engine, which was looked up with the key."""

    product: Product
    seen: Seen | None = None


CALLER: Final[ContextVar[Caller]] = ContextVar("september.http.orchestrator.caller")
"""Whose key the request carries."""


class Keys(Protocol):
    """Who knows the keys."""

    async def caller_with(self, key: str, admitted: str | None) -> Caller | None:
        """The product that has this key, with the Engine of the user to be `admitted`."""
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
                admit = _ADMIT.fullmatch(visit.path)
                admitted = admit[1] if admit else None
                caller = await self._keys.caller_with(key, admitted) if key else None
                if caller is None:
                    raise _refusal("INVALID_PLATFORM_KEY", "X-Platform-Key", visit)
                CALLER.set(caller)
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
