"""Gemini: generateContent streams through the official SDK."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx2

from ...config.secret import Secret
from .conversation import ModelRequest, Piece
from .faults import FaultMapper, retry_after, seconds_of_duration
from .gemini_wire import PROVIDER, GeminiReader, translate
from .naming import ToolNames
from .provider import Fault, ProviderError
from .sdk import LazySdk, Timeouts
from .stream import opened

BASE_URL = "https://generativelanguage.googleapis.com"
_API_VERSION = "v1beta"
"""Where thinking, signatures and response schemas are; proxies often know no other version."""

# --- the provider -----------------------------------------------------------------------------


class GeminiProvider:
    """Gemini, or anything that speaks its API (with an API key) at `base_url`."""

    def __init__(
        self,
        key: Secret,
        *,
        base_url: str = BASE_URL,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._key = key
        self._base_url = base_url
        self._faults = FaultMapper(PROVIDER, self._key)
        self._sdk: LazySdk[Any] = LazySdk(self._make, timeouts or Timeouts())

    @property
    def name(self) -> str:
        """`gemini`."""
        return PROVIDER

    async def warm(self) -> None:
        """Load the SDK ahead of the first call."""
        await self._sdk.client()

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[AsyncIterator[Piece]]:
        """Open one streaming model call. The SDK sends the request with the first read."""
        names = ToolNames.of(request)

        async def start() -> AsyncIterator[Any]:
            client = await self._sdk.client()
            models = client.aio.models
            events: AsyncIterator[Any] = await models.generate_content_stream(
                **translate(request, names)
            )
            return events

        return opened(start, GeminiReader(request, names), self._faults, self._explain)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sdk.aclose()

    def _make(self, http: httpx2.AsyncClient) -> Any:
        from google import genai

        options = genai.types.HttpOptions(
            base_url=self._base_url, api_version=_API_VERSION, httpx_async_client=http
        )
        client = genai.Client(api_key=self._key.reveal(), vertexai=False, http_options=options)
        _ = client.aio.models
        return client

    # --- error mapping ------------------------------------------------------------------------

    def _explain(self, error: Exception, otherwise: Fault) -> ProviderError:
        """An error of the SDK, of its transport or of the stream (an `error` chunk)."""
        from google.genai import errors

        if not isinstance(error, errors.APIError):
            return self._faults.from_exception(error, otherwise)
        return self._of_answer(error)

    def _of_answer(self, error: Any) -> ProviderError:
        text = error.message or str(error.details)
        wait = _retry_delay(error.details)
        if wait is None and error.response is not None:
            wait = retry_after(error.response.headers)
        fault = _fault_of_reason(error)
        if fault is None:
            return self._faults.from_status(error.code or 0, text, retry_after=wait)
        return self._faults.error(fault, text, status=error.code, retry_after=wait)


_FAULTS: Mapping[str, Fault] = {
    "API_KEY_INVALID": Fault.AUTH,
    "UNAUTHENTICATED": Fault.AUTH,
    "PERMISSION_DENIED": Fault.AUTH,
    "RESOURCE_EXHAUSTED": Fault.RATE_LIMITED,
    "UNAVAILABLE": Fault.OVERLOADED,
    "DEADLINE_EXCEEDED": Fault.TIMEOUT,
}
"""By the reason of an ErrorInfo, then by status: a bad key answers 400 INVALID_ARGUMENT."""


def _fault_of_reason(error: Any) -> Fault | None:
    reasons = [detail.get("reason") for detail in _details(error.details)]
    for name in [*reasons, error.status]:
        if fault := _FAULTS.get(str(name)):
            return fault
    return None


def _retry_delay(details: Any) -> float | None:
    """The `retryDelay` of a google.rpc.RetryInfo, in seconds."""
    for detail in _details(details):
        if delay := detail.get("retryDelay"):
            return seconds_of_duration(str(delay))
    return None


def _details(body: Any) -> list[dict[str, Any]]:
    """The details of a google.rpc.Status, as a body or inside its `error`."""
    try:
        return list(body.get("error", body).get("details") or ())
    except AttributeError:
        return []
