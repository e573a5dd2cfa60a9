"""What the orchestrator asks an Engine over HTTP: how it is, and to rotate its key."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Final, Protocol

import httpx2
import msgspec
from msgspec import Struct

from ..actors import current_span

HEALTHY: Final = frozenset({"ok", "degraded"})
"""A provider's outage is `degraded`, and restarts nobody (contract, section 20.12)."""

_CONNECTIONS: Final = 64


class Unreachable(Exception):
    """No answer, or none that makes sense."""


class KeyRefused(Exception):
    """The Engine does not know this key, or no longer."""


class Activity(Struct, frozen=True, kw_only=True):
    """What goes on in an Engine (contract, section 19.9). `idle_seconds` counts since the last."""

    running_turns: int = 0
    queued_turns: int = 0
    pending_hitl: int = 0
    idle_seconds: float = 0.0
    next_wake_at: datetime | None = None

    @property
    def busy(self) -> bool:
        """Whether a stop would cut something short."""
        return bool(self.running_turns or self.queued_turns or self.pending_hitl)


class Health(Struct, frozen=True, kw_only=True):
    """What an Engine says of itself."""

    status: str
    activity: Activity | None = None

    @property
    def ok(self) -> bool:
        """Whether a restart would be of no use."""
        return self.status in HEALTHY


class EngineClient(Protocol):
    """The two questions. `url` is the Engine's; times are seconds."""

    async def health(self, url: str, within: float) -> Health:
        """Ask how it is. Raises Unreachable; an Engine that says it is not well is an answer."""
        ...

    async def rotate(self, url: str, key: str, key_hash: str, overlap: float) -> float:
        """Put a new key in force; returns for how long the old one still works.

        Raises KeyRefused, Unreachable.
        """
        ...


class _Rotated(Struct):
    overlap_seconds: float


class HttpEngineClient:
    """The questions over HTTP, with connections kept open.

    A probe carries no trace: it is asked all day, and an Engine records no probe of its own accord.
    """

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http
        self._decode = msgspec.json.Decoder(Health).decode

    async def health(self, url: str, within: float) -> Health:
        """GET /health."""
        try:
            answer = await self._http.get(f"{url}/health", timeout=within)
            return self._decode(answer.content)
        except (httpx2.HTTPError, httpx2.InvalidURL, msgspec.DecodeError) as error:
            raise Unreachable(f"{type(error).__name__}: {error}") from error

    async def rotate(self, url: str, key: str, key_hash: str, overlap: float) -> float:
        """POST /admin/rotate-key."""
        body = {"key_hash": key_hash, "overlap_seconds": overlap}
        try:
            answer = await self._http.post(
                f"{url}/admin/rotate-key", json=body, headers={"X-Engine-Key": key, **_traced()}
            )
            if answer.status_code == 401:
                raise KeyRefused
            answer.raise_for_status()
            return msgspec.json.decode(answer.content, type=_Rotated).overlap_seconds
        except (httpx2.HTTPError, httpx2.InvalidURL, msgspec.DecodeError) as error:
            raise Unreachable(f"{type(error).__name__}: {error}") from error


def _traced() -> dict[str, str]:
    """The header by which an Engine continues the trace of what is being done here."""
    span = current_span()
    return {"traceparent": span.traceparent} if span is not None else {}


def open_client() -> AbstractAsyncContextManager[HttpEngineClient]:
    """A client, for as long as it is needed."""

    @asynccontextmanager
    async def opened() -> AsyncGenerator[HttpEngineClient]:
        limits = httpx2.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS)
        async with httpx2.AsyncClient(limits=limits, timeout=10, trust_env=False) as http:
            yield HttpEngineClient(http)

    return opened()
