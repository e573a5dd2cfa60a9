"""OpenAI: chat completions through the official SDK, for OpenAI and compatible servers."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx2

from ...config.secret import Secret
from .conversation import ModelRequest, Piece
from .faults import FaultMapper, fault_of_status, is_overflow, retry_after
from .naming import ToolNames
from .openai_events import Chunk, decode
from .openai_wire import PROVIDER, OpenAIReader, translate
from .provider import Fault, ProviderError
from .sdk import LazySdk, Timeouts
from .sse import StreamFault, payloads
from .stream import opened

BASE_URL = "https://api.openai.com/v1"

# --- the provider -----------------------------------------------------------------------------


class OpenAIProvider:
    """GPT, or anything that speaks chat completions at `base_url`."""

    def __init__(
        self,
        key: Secret,
        *,
        base_url: str = BASE_URL,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._key = key
        self._base_url = base_url
        self._official = httpx2.URL(base_url).host.endswith("api.openai.com")
        self._faults = FaultMapper(PROVIDER, self._key)
        self._sdk: LazySdk[Any] = LazySdk(self._make, timeouts or Timeouts())

    @property
    def name(self) -> str:
        """`openai`."""
        return PROVIDER

    async def warm(self) -> None:
        """Load the SDK ahead of the first call."""
        await self._sdk.client()

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[AsyncIterator[Piece]]:
        """Open one streaming model call."""
        names = ToolNames.of(request)

        async def events() -> AsyncGenerator[list[Chunk]]:
            client = await self._sdk.client()
            body = translate(request, names, official=self._official)
            call = client.chat.completions.with_streaming_response.create(**body)
            async with call as response:
                async for chunk in response.iter_bytes():
                    yield list(map(decode, payloads(chunk)))

        return opened(events(), OpenAIReader(request, names), self._faults, self._explain)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sdk.aclose()

    def _make(self, http: httpx2.AsyncClient) -> Any:
        import openai

        client = openai.AsyncOpenAI(
            api_key=self._key.reveal(), base_url=self._base_url, max_retries=0, http_client=http
        )
        _ = client.chat.completions  # loads the resource's modules here, in the thread
        return client

    # --- error mapping ------------------------------------------------------------------------

    def _explain(self, error: Exception, otherwise: Fault) -> ProviderError:
        """An error of the SDK, of its transport or of the stream (an `error` event)."""
        import openai

        if isinstance(error, openai.APIStatusError):
            return self._of_answer(error)
        if isinstance(error, StreamFault):
            return self._faults.error(_fault_of_event(error), error.text("message"), status=200)
        return self._faults.from_exception(error, otherwise)

    def _of_answer(self, error: Any) -> ProviderError:
        """The error behind an HTTP error; the SDK has unwrapped its envelope, if it had one."""
        try:
            text = str(error.body["message"])
        except (KeyError, TypeError):
            text = error.response.text or error.message
        fault = _FAULTS.get(str(error.code)) or _FAULTS.get(str(error.type))
        return self._faults.error(
            fault or fault_of_status(error.status_code, text),
            text,
            status=error.status_code,
            retry_after=retry_after(error.response.headers),
        )


_FAULTS: Mapping[str, Fault] = {
    "context_length_exceeded": Fault.CONTEXT_OVERFLOW,
    "exceed_context_size_error": Fault.CONTEXT_OVERFLOW,
    "insufficient_quota": Fault.REJECTED,
    "invalid_api_key": Fault.AUTH,
}
"""Codes that say more than their status: an empty account answers 429, and waiting is no help."""

_EVENT_FAULTS: Mapping[str, Fault] = {
    **_FAULTS,
    "rate_limit_exceeded": Fault.RATE_LIMITED,
    "rate_limit_error": Fault.RATE_LIMITED,
    "invalid_request_error": Fault.REJECTED,
}


def _fault_of_event(error: StreamFault) -> Fault:
    """An error event names itself by code or type; compatible servers put a status in `code`."""
    message, code = error.text("message"), error.text("code")
    if is_overflow(message):
        return Fault.CONTEXT_OVERFLOW
    if code.isdigit():
        return fault_of_status(int(code), message)
    return _EVENT_FAULTS.get(code) or _EVENT_FAULTS.get(error.text("type")) or Fault.UNAVAILABLE
