"""OpenAI: chat completions through the official SDK, for OpenAI and compatible servers."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx2

from .conversation import ModelRequest
from .faults import fault_of_status, is_overflow, retry_after
from .naming import ToolNames
from .openai_events import Chunk, decode
from .openai_wire import PROVIDER, OpenAIReader, translate
from .provider import Fault, ProviderError
from .sdk_provider import SdkProvider
from .sse import StreamFault, payloads


class OpenAIProvider(SdkProvider):
    """GPT, or anything that speaks chat completions at `base_url`."""

    NAME = PROVIDER
    BASE_URL = "https://api.openai.com/v1"

    async def _batches(
        self, request: ModelRequest, names: ToolNames
    ) -> AsyncGenerator[list[Chunk]]:
        client = await self._sdk.client()
        official = httpx2.URL(self._base_url).host.endswith("api.openai.com")
        body = translate(request, names, official=official)
        call = client.chat.completions.with_streaming_response.create(**body)
        async with call as response:
            async for chunk in response.iter_bytes():
                yield list(map(decode, payloads(chunk)))

    def _reader(self, request: ModelRequest, names: ToolNames) -> OpenAIReader:
        return OpenAIReader(request, names)

    def _make(self, http: httpx2.AsyncClient) -> Any:
        import openai

        client = openai.AsyncOpenAI(
            api_key=self._key.reveal(), base_url=self._base_url, max_retries=0, http_client=http
        )
        _ = client.chat.completions  # loads the resource's modules here, in the thread
        return client

    def _explain(self, error: Exception, otherwise: Fault) -> ProviderError:
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
