"""What the providers behind an official SDK have in common: a key, a client, one way to stream."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

import httpx2

from ...config.secret import Secret
from .conversation import ModelRequest, Piece
from .faults import FaultMapper
from .naming import ToolNames
from .provider import Fault, ProviderError
from .sdk import LazySdk, Timeouts
from .stream import Batches, StreamReader, opened


class SdkProvider(ABC):
    """A `Provider`; a subclass knows its SDK, its wire and what its errors mean."""

    NAME: ClassVar[str]
    BASE_URL: ClassVar[str]

    def __init__(
        self, key: Secret, *, base_url: str | None = None, timeouts: Timeouts | None = None
    ) -> None:
        self._key = key
        self._base_url = base_url or self.BASE_URL
        self._faults = FaultMapper(self.NAME, key)
        self._sdk: LazySdk[Any] = LazySdk(self._make, timeouts or Timeouts())

    @property
    def name(self) -> str:
        """Its name in LLM_PROVIDER."""
        return self.NAME

    async def warm(self) -> None:
        """Load the SDK ahead of the first call."""
        await self._sdk.client()

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[AsyncIterator[Piece]]:
        """Open one streaming model call."""
        names = ToolNames.of(request)
        reader = self._reader(request, names)
        return opened(self._batches(request, names), reader, self._faults, self._explain)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sdk.aclose()

    @abstractmethod
    def _make(self, http: httpx2.AsyncClient) -> Any:
        """Import the SDK and make its client; runs in a thread."""

    @abstractmethod
    def _batches(self, request: ModelRequest, names: ToolNames) -> Batches:
        """Make the call and read its events as they come."""

    @abstractmethod
    def _reader(self, request: ModelRequest, names: ToolNames) -> StreamReader:
        """What turns the events into pieces."""

    @abstractmethod
    def _explain(self, error: Exception, otherwise: Fault) -> ProviderError:
        """An error of the SDK, of its transport or of the stream (an `error` event)."""
