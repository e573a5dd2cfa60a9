"""Gemini: generateContent streams through the official SDK."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx2

from ..channels.events import JsonObject
from .conversation import ModelRequest
from .faults import fault_of_status, retry_after, seconds_of_duration
from .gemini_wire import PROVIDER, GeminiReader, translate
from .naming import ToolNames
from .provider import Fault, ProviderError
from .sdk_provider import SdkProvider
from .sse import StreamFault

_API_VERSION = "v1beta"
"""Where thinking, signatures and response schemas are; proxies often know no other version."""


class GeminiProvider(SdkProvider):
    """Gemini, or anything that speaks its API (with an API key) at `base_url`."""

    NAME = PROVIDER
    BASE_URL = "https://generativelanguage.googleapis.com"

    async def _batches(self, request: ModelRequest, names: ToolNames) -> AsyncGenerator[tuple[Any]]:
        client = await self._sdk.client()
        body = translate(request, names)
        async for chunk in await client.aio.models.generate_content_stream(**body):
            yield (chunk,)

    def _reader(self, request: ModelRequest, names: ToolNames) -> GeminiReader:
        return GeminiReader(request, names)

    def _make(self, http: httpx2.AsyncClient) -> Any:
        from google import genai

        options = genai.types.HttpOptions(
            base_url=self._base_url, api_version=_API_VERSION, httpx_async_client=http
        )
        client = genai.Client(api_key=self._key.reveal(), vertexai=False, http_options=options)
        _ = client.aio.models
        return client

    def _explain(self, error: Exception, otherwise: Fault) -> ProviderError:
        from google.genai import errors

        if isinstance(error, errors.APIError):
            answer: Any = error  # the SDK's own types are partly unknown
            wait = retry_after(getattr(answer.response, "headers", {}))
            return self._of_status(_body(answer.details), answer.code or 0, wait)
        if isinstance(error, StreamFault):
            return self._of_status(error.error, 200, None)
        return self._faults.from_exception(error, otherwise)

    def _of_status(self, body: JsonObject, status: int, wait: float | None) -> ProviderError:
        """The error behind a google.rpc.Status; a wait in its details wins over a header's."""
        text = str(body.get("message") or body)
        delay = _retry_delay(body)
        wait = wait if delay is None else delay
        fault = _fault_of_reason(body)
        if fault is None:
            code = body.get("code")
            fault = fault_of_status(code if isinstance(code, int) else status, text)
        return self._faults.error(fault, text, status=status, retry_after=wait)


_FAULTS: Mapping[str, Fault] = {
    "API_KEY_INVALID": Fault.AUTH,
    "UNAUTHENTICATED": Fault.AUTH,
    "PERMISSION_DENIED": Fault.AUTH,
    "RESOURCE_EXHAUSTED": Fault.RATE_LIMITED,
    "UNAVAILABLE": Fault.OVERLOADED,
    "DEADLINE_EXCEEDED": Fault.TIMEOUT,
}
"""By the reason of an ErrorInfo, then by status: a bad key answers 400 INVALID_ARGUMENT."""


def _fault_of_reason(body: JsonObject) -> Fault | None:
    reasons = [detail.get("reason") for detail in _details(body)]
    for name in [*reasons, body.get("status")]:
        if fault := _FAULTS.get(str(name)):
            return fault
    return None


def _retry_delay(body: JsonObject) -> float | None:
    """The `retryDelay` of a google.rpc.RetryInfo, in seconds."""
    for detail in _details(body):
        if delay := detail.get("retryDelay"):
            return seconds_of_duration(str(delay))
    return None


def _body(answer: Any) -> JsonObject:
    """The google.rpc.Status of an HTTP error, in its envelope; other bodies as its message."""
    try:
        return dict(answer.get("error", answer))
    except (AttributeError, TypeError, ValueError):
        return {"message": str(answer)}


def _details(body: JsonObject) -> list[JsonObject]:
    listed: Any = body.get("details")
    return [detail for detail in listed or () if isinstance(detail, dict)]
