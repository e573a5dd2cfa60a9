"""Doors: who is let through a gate, and how the others are answered."""

from typing import Final, Protocol

from ..errors import SeptemberError
from . import errors
from .auth import ADMITTED, KeyRing, refusal
from .cors import HeaderList
from .pages.page import ENGINE, Service, page, policy
from .visit import KEY_HEADER, Visit

KEYLESS: Final = frozenset({"/health", "/assets/oauth/callback"})
"""Paths of an Engine that need no key (contract, sections 2 and 3).

An authorization server sends a browser to the callback, and a browser has no key: what lets it in
is the `state` of an authorization that was begun with one.
"""


class Door(Protocol):
    """What a gate asks of the service behind it."""

    async def check(self, visit: Visit) -> None:
        """Let the visit in, or raise SeptemberError."""
        ...

    def refuse(self, visit: Visit, error: SeptemberError) -> tuple[HeaderList, bytes]:
        """The headers and the body of a refusal."""
        ...


def sign_in(service: Service) -> tuple[HeaderList, bytes]:
    """The page on which a person gives the key: its headers and its body."""
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-security-policy", policy().encode()),
    ]
    return headers, page("sign_in", service).encode()


class EngineDoor:
    """An Engine's door: one key for everything but its health."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    async def check(self, visit: Visit) -> None:
        """Check the key; health needs none."""
        key = visit.headers.get(KEY_HEADER, "")
        visit.standing = self._keys.check(key.encode("latin-1"))
        if visit.standing not in ADMITTED and visit.path not in KEYLESS:
            raise refusal(visit.standing, given=bool(key))

    def refuse(self, visit: Visit, error: SeptemberError) -> tuple[HeaderList, bytes]:
        """A browser gets a page on which to give the key, everybody else the flat envelope."""
        if error.status == 401 and visit.wants_page:
            return sign_in(ENGINE)
        headers = [(name.encode(), value.encode()) for name, value in errors.headers(error)]
        return headers, errors.envelope(error)
