"""What went wrong at a provider: statuses, transport errors and error texts as `ProviderError`."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2

from ...config.secret import Secret
from .provider import Fault, ProviderError

_BY_STATUS: Mapping[int, Fault] = {
    401: Fault.AUTH,
    403: Fault.AUTH,
    408: Fault.TIMEOUT,
    409: Fault.UNAVAILABLE,
    413: Fault.CONTEXT_OVERFLOW,
    429: Fault.RATE_LIMITED,
    503: Fault.OVERLOADED,
    504: Fault.TIMEOUT,
    529: Fault.OVERLOADED,
}

_OVERFLOW = re.compile(
    r"prompt is too long"
    r"|exceeds? (the )?(model'?s? )?(maximum )?context (limit|length|window|size)"
    r"|exceeds the available context size"
    r"|maximum context length"
    r"|context_length_exceeded"
    r"|input token count .{0,40}exceeds the maximum",
    re.IGNORECASE,
)
"""How Anthropic, OpenAI, vLLM, llama.cpp and Gemini say that the prompt does not fit."""

_KEY_LIKE = re.compile(r"\b(sk-|AIza|Bearer\s+)[\w*.-]{6,}")
_TEXT_LIMIT = 500


class SpoiledAnswer(Exception):
    """The provider itself disowns what it answered (a call it could not finish); ask again."""


class FaultMapper:
    """Makes `ProviderError`s of one provider, with its key scrubbed from every message."""

    def __init__(self, provider: str, key: Secret) -> None:
        self._provider = provider
        self._key = key

    def error(
        self,
        fault: Fault,
        text: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> ProviderError:
        """A `ProviderError` whose message is `text`, scrubbed and shortened."""
        return ProviderError(
            fault,
            self._scrubbed(text),
            provider=self._provider,
            status=status,
            retry_after=retry_after,
        )

    def from_status(
        self, status: int, text: str, *, retry_after: float | None = None
    ) -> ProviderError:
        """The error behind an HTTP status and the provider's own words."""
        return self.error(
            fault_of_status(status, text), text, status=status, retry_after=retry_after
        )

    def from_exception(self, error: Exception, otherwise: Fault) -> ProviderError:
        """The error behind anything that is not an answer of the provider.

        `otherwise` stands for what is neither a transport failure nor already mapped: a request
        that could not be built, or a stream that held something unreadable.
        """
        if isinstance(error, ProviderError):
            return error
        if isinstance(error, SpoiledAnswer):
            return self.error(Fault.UNAVAILABLE, f"the answer was no good ({error})")
        cause = _transport_cause(error)
        if cause is None:
            return self.error(otherwise, f"{type(error).__name__}: {error}")
        return self.error(_fault_of_transport(cause), _transport_text(cause))

    def _scrubbed(self, text: str) -> str:
        key = self._key.reveal()
        plain = text.replace(key, "[key]") if key else text
        return _KEY_LIKE.sub("[key]", plain)[:_TEXT_LIMIT]


def fault_of_status(status: int, text: str = "") -> Fault:
    """The fault an HTTP status stands for.

    An overflow is told by the text: most answer 400 with it, some local servers 500.
    """
    if status not in (401, 403, 429) and is_overflow(text):
        return Fault.CONTEXT_OVERFLOW
    if status >= 500:
        return _BY_STATUS.get(status, Fault.UNAVAILABLE)
    return _BY_STATUS.get(status, Fault.REJECTED)


def is_overflow(text: str) -> bool:
    """Whether a provider's error text says that the prompt does not fit the context window."""
    return _OVERFLOW.search(text) is not None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the provider asks to wait: `retry-after-ms`, or `retry-after` (seconds or a date)."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    return _seconds_until(value) if seconds is None and value else seconds


def seconds_of_duration(text: str) -> float | None:
    """A protobuf duration such as `34.07s`, in seconds; None when it is none."""
    return _number(text.removesuffix("s"))


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def _seconds_until(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())


def _transport_cause(error: BaseException | None) -> httpx2.HTTPError | None:
    """The httpx2 error itself, or the one an SDK wrapped."""
    while error is not None and not isinstance(error, httpx2.HTTPError):
        error = error.__cause__
    return error


def _fault_of_transport(error: httpx2.HTTPError) -> Fault:
    match error:
        case httpx2.TimeoutException():
            return Fault.TIMEOUT
        case httpx2.ConnectError() | httpx2.ProxyError():
            return Fault.UNAVAILABLE
        case httpx2.UnsupportedProtocol() | httpx2.LocalProtocolError():
            return Fault.REJECTED
        case _:
            return Fault.CUT


def _transport_text(error: httpx2.HTTPError) -> str:
    match error:
        case httpx2.ConnectTimeout():
            return "no connection within the time limit"
        case httpx2.TimeoutException():
            return "the provider was silent for too long"
        case httpx2.ConnectError():
            return f"no connection to the provider ({error})"
        case _:
            return f"the connection broke ({type(error).__name__}: {error})"
