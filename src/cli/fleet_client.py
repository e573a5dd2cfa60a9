"""What the fleet commands ask an orchestrator, over its HTTP API."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import quote

import httpx2
import msgspec
from msgspec import Struct

from ..errors import SeptemberError

T = TypeVar("T")

_PAGE: Final = 1000
_TIMEOUT_S: Final = 180.0
"""Above what an upgrade takes: stop, copy, boot, and all of it again to go back."""


class Detail(Struct):
    """What is wrong."""

    code: str
    message: str


class Refusal(Struct):
    """The nested envelope."""

    error: Detail


class Row(Struct):
    """An Engine in a list."""

    engine_id: str
    user_id: str
    status: str
    engine_version: str
    url: str | None = None
    created_at: str = ""
    last_health_at: str | None = None
    product: str = ""
    failure: str | None = None


class Page(Struct):
    """One page of Engines."""

    engines: list[Row]
    total: int


class Entry(Struct):
    """An entry of the audit log."""

    id: int
    timestamp: str
    user_id: str | None
    action: str
    actor: str
    metadata: dict[str, object]
    duration_ms: int | None


class Entries(Struct):
    """Entries, newest first."""

    entries: list[Entry]


class Backup(Struct):
    """A copy of a brain. `size` is in bytes."""

    name: str
    path: str
    size: int
    taken_at: str


class Backups(Struct):
    """Copies, newest first; how many of them stay, and for how many seconds. 0: no bound."""

    backups: list[Backup]
    keep: int = 0
    max_age_s: int = 0


class Restored(Struct):
    """What became of a restore."""

    restored: bool
    status: str


@dataclass(frozen=True, slots=True)
class FleetClient:
    """Asks the orchestrator at `url`; either key may be empty where it is not needed."""

    url: str
    platform_key: str
    admin_key: str

    def ask(self, method: str, path: str, body: object = None, **query: object) -> bytes:
        """The answer's body. Raises SeptemberError with what the orchestrator said."""
        params = {name: str(value) for name, value in query.items() if value is not None}
        keys = {"X-Platform-Key": self.platform_key, "X-Admin-Key": self.admin_key}
        headers = {name: key for name, key in keys.items() if key}
        self._check_keys(path)
        content = None if body is None else msgspec.json.encode(body)
        try:
            answer = httpx2.request(
                method,
                f"{self.url}{path}",
                params=params,
                content=content,
                headers=headers,
                timeout=_TIMEOUT_S,
                trust_env=False,
            )
        except httpx2.HTTPError as error:
            raise SeptemberError(
                "UNREACHABLE", f"no orchestrator answers at {self.url}: {error}; set --url"
            ) from error
        if answer.is_success:
            return answer.content
        raise _refusal(answer)

    def _check_keys(self, path: str) -> None:
        """Raises SeptemberError with what to set, where the orchestrator would name a header."""
        if path.startswith(("/admin", "/products")):
            if not self.admin_key:
                reason = "this needs the admin's key: set ORCH_ADMIN_KEY or give --admin-key"
                raise SeptemberError("INVALID_ADMIN_KEY", reason)
        elif not self.platform_key:
            reason = "this needs a product's key: set ORCH_PLATFORM_KEY or give --key"
            raise SeptemberError("INVALID_PLATFORM_KEY", reason)

    def get(self, kind: type[T], method: str, path: str, **more: object) -> T:
        """The answer as a struct. Raises SeptemberError."""
        return msgspec.json.decode(self.ask(method, path, **more), type=kind)

    def engines(self, status: str | None = None, *, everywhere: bool = False) -> Iterator[Row]:
        """Every Engine: of the product, or without its key, or `everywhere`, of all products."""
        ours = self.platform_key and not everywhere
        path = "/engines" if ours else "/admin/engines"
        offset = 0
        while True:
            page = self.get(Page, "GET", path, status=status, limit=_PAGE, offset=offset)
            yield from page.engines
            offset += _PAGE
            if offset >= page.total:
                return

    def find(self, user_or_id: str) -> Row:
        """The Engine with this id, or of this user if only one product has such."""
        found = [row for row in self.engines() if user_or_id in (row.engine_id, row.user_id)]
        if len(found) != 1:
            what = "several products have" if found else "there is no Engine of"
            raise SeptemberError("ENGINE_NOT_FOUND", f"{what} {user_or_id!r}; give its engine id")
        return found[0]


def user_path(user_id: str, action: str = "") -> str:
    """The path of a user's Engine."""
    return f"/engines/{quote(user_id, safe='')}" + (f"/{action}" if action else "")


def _refusal(answer: httpx2.Response) -> SeptemberError:
    try:
        said = msgspec.json.decode(answer.content, type=Refusal).error
    except msgspec.DecodeError:
        return SeptemberError("BAD_ANSWER", f"HTTP {answer.status_code}: {answer.text[:200]}")
    return SeptemberError(said.code, f"{said.code}: {said.message}")
