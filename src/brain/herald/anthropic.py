"""Anthropic: the Messages API through the official SDK."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx2

from ...config.secret import Secret
from .anthropic_events import StreamEvent, decode
from .anthropic_wire import PROVIDER, AnthropicReader, translate
from .conversation import ModelRequest, Piece
from .faults import FaultMapper, is_overflow, retry_after
from .naming import ToolNames
from .provider import Fault, ProviderError
from .sdk import LazySdk, Timeouts
from .sse import StreamFault, payloads
from .stream import opened

BASE_URL = "https://api.anthropic.com"

# --- the provider -----------------------------------------------------------------------------


class AnthropicProvider:
    """Claude, or anything that speaks the Messages API at `base_url`."""

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
        """`anthropic`."""
        return PROVIDER

    async def warm(self) -> None:
        """Load the SDK ahead of the first call."""
        await self._sdk.client()

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[AsyncIterator[Piece]]:
        """Open one streaming model call."""
        names = ToolNames.of(request)

        async def events() -> AsyncGenerator[list[StreamEvent]]:
            client = await self._sdk.client()
            call = client.messages.with_streaming_response.create(**_body(request, names))
            async with call as response:
                async for chunk in response.iter_bytes():
                    yield list(map(decode, payloads(chunk)))

        return opened(events(), AnthropicReader(request, names), self._faults, self._explain)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sdk.aclose()

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

    # --- error mapping ------------------------------------------------------------------------

    def _explain(self, error: Exception, otherwise: Fault) -> ProviderError:
        """An error of the SDK, of its transport or of the stream (an `error` event)."""
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
