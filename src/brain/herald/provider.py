"""The contract of a model provider: open a stream, close the client. Nothing retries in here."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from enum import Enum
from typing import Protocol

from .conversation import ModelRequest, Piece


class Fault(Enum):
    """What went wrong at a provider, as the rest of the Engine needs to tell it apart."""

    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"
    CUT = "cut"
    CONTEXT_OVERFLOW = "context_overflow"
    AUTH = "auth"
    REJECTED = "rejected"

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later."""
        return self in _RETRYABLE

    @property
    def code(self) -> str:
        """The contract's error code (section 2.1)."""
        return _CODES.get(self, "LLM_PROVIDER_ERROR")


_RETRYABLE = frozenset(
    {Fault.RATE_LIMITED, Fault.OVERLOADED, Fault.UNAVAILABLE, Fault.TIMEOUT, Fault.CUT}
)
_CODES = {
    Fault.RATE_LIMITED: "LLM_RATE_LIMITED",
    Fault.TIMEOUT: "LLM_TIMEOUT",
    Fault.CONTEXT_OVERFLOW: "CONTEXT_OVERFLOW",
}


class ProviderError(Exception):
    """A model call failed. `retry_after` is the provider's own wish, in seconds.

    The message never holds a key: adapters pass on status and the provider's text, scrubbed.
    """

    def __init__(
        self,
        fault: Fault,
        message: str,
        *,
        provider: str,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{provider}: {message}")
        self.fault = fault
        self.message = message
        self.provider = provider
        self.status = status
        self.retry_after = retry_after


class Provider(Protocol):
    """One provider's wire. Owned by one provider actor; every method is safe to cancel.

    `stream` yields pieces and always ends with `Finished`; a stream that ends without it was
    cut, and the adapter raises `ProviderError(Fault.CUT)` itself. Leaving the context manager,
    however it happens, closes the connection at once. All failures are `ProviderError`.
    """

    @property
    def name(self) -> str:
        """The provider's name in LLM_PROVIDER."""
        ...

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[AsyncIterator[Piece]]:
        """Open one streaming model call."""
        ...

    async def aclose(self) -> None:
        """Close the client and its connections."""
        ...
