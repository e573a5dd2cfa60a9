"""Anthropic: the Messages API through the official SDK."""

from collections.abc import AsyncGenerator
from typing import Any

import httpx2

from .anthropic_events import StreamEvent, decode
from .anthropic_wire import PROVIDER, AnthropicReader, translate
from .conversation import ModelRequest
from .faults import is_overflow, retry_after
from .naming import ToolNames
from .provider import Fault, ProviderError
from .sdk_provider import SdkProvider
from .sse import StreamFault, payloads


class AnthropicProvider(SdkProvider):
    """Claude, or anything that speaks the Messages API at `base_url`."""

    NAME = PROVIDER
    BASE_URL = "https://api.anthropic.com"

    async def _batches(
        self, request: ModelRequest, names: ToolNames
    ) -> AsyncGenerator[list[StreamEvent]]:
        client = await self._sdk.client()
        call = client.messages.with_streaming_response.create(**_body(request, names))
        async with call as response:
            async for chunk in response.iter_bytes():
                yield list(map(decode, payloads(chunk)))

    def _reader(self, request: ModelRequest, names: ToolNames) -> AnthropicReader:
        return AnthropicReader(request, names)

    def _make(self, http: httpx2.AsyncClient) -> Any:
        import anthropic

        client = anthropic.AsyncAnthropic(
            api_key=self._key.reveal(),
            base_url=self._base_url,
            max_retries=0,
            http_client=http,
            open_telemetry=False,
        )
        _ = client.messages  # loads the resource's modules here, in the thread
        return client

    def _explain(self, error: Exception, otherwise: Fault) -> ProviderError:
        import anthropic

        if isinstance(error, anthropic.APIStatusError):
            text = error.api_message or error.message
            wait = retry_after(error.response.headers)
            return self._faults.from_status(error.status_code, text, retry_after=wait)
        if isinstance(error, StreamFault):
            return self._faults.error(_fault_of_event(error), error.text("message"), status=200)
        return self._faults.from_exception(error, otherwise)


_FAULTS = {
    "overloaded_error": Fault.OVERLOADED,
    "rate_limit_error": Fault.RATE_LIMITED,
    "timeout_error": Fault.TIMEOUT,
    "authentication_error": Fault.AUTH,
    "permission_error": Fault.AUTH,
    "request_too_large": Fault.CONTEXT_OVERFLOW,
    "invalid_request_error": Fault.REJECTED,
    "not_found_error": Fault.REJECTED,
    "billing_error": Fault.REJECTED,
}


def _fault_of_event(error: StreamFault) -> Fault:
    """An error event names itself by its type."""
    if is_overflow(error.text("message")):
        return Fault.CONTEXT_OVERFLOW
    return _FAULTS.get(error.text("type"), Fault.UNAVAILABLE)


def _body(request: ModelRequest, names: ToolNames) -> dict[str, object]:
    import anthropic

    return translate(request, names, lambda schema: anthropic.transform_schema(schema))
