"""What a turn hears when a model call fails for good: one code, one sentence, all attempts."""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from ...errors import SeptemberError
from .provider import Fault, ProviderError
from .route import Target


class BreakerOpen(ProviderError):
    """The call was not made: the provider failed too often lately. Waiting here is no use."""

    def __init__(self, provider: str, retry_after: float) -> None:
        message = "not called, because it failed too often lately (circuit breaker open)"
        super().__init__(Fault.UNAVAILABLE, message, provider=provider, retry_after=retry_after)


class Attempt(Struct, frozen=True):
    """One failed attempt. `retry_after` is in seconds."""

    provider: str
    model: str
    fault: Fault
    message: str
    retry_after: float | None = None

    @classmethod
    def of(cls, target: Target, failure: ProviderError) -> "Attempt":
        """Note a failure."""
        fault, retry_after = failure.fault, failure.retry_after
        return cls(target.provider, target.model, fault, failure.message, retry_after)


_SENTENCES: Final[Mapping[Fault, str]] = {
    Fault.RATE_LIMITED: "{target} limits the rate of calls; try again in {seconds} s",
    Fault.OVERLOADED: "{target} is overloaded ({message}); try again, or set FALLBACK_MODEL",
    Fault.UNAVAILABLE: "{target} is not available: {message}",
    Fault.TIMEOUT: "{target} did not answer in time: {message}",
    Fault.CUT: "{target} broke off its answer: {message}",
    Fault.CONTEXT_OVERFLOW: "the conversation does not fit the context window of {target}",
    Fault.AUTH: "{target} refused the key ({message}); check LLM_API_KEY or the provider's own",
    Fault.REJECTED: "{target} rejected the request: {message}",
}


def explain(attempts: Sequence[Attempt], *, partial: bool = False) -> SeptemberError:
    """The error for a call whose last attempt is the last of `attempts`.

    `partial` says that the user has already seen a part of the answer.
    """
    last = attempts[-1]
    retry_after = last.retry_after
    if last.fault is Fault.RATE_LIMITED and retry_after is None:
        retry_after = 1.0  # the contract's backoff starts at 1 s (section 2.1)
    target = f"{last.provider} ({last.model})"
    seconds = f"{retry_after or 0:.0f}"
    sentence = _SENTENCES[last.fault].format(target=target, message=last.message, seconds=seconds)
    details: dict[str, object] = {
        "provider": last.provider,
        "model": last.model,
        "fault": last.fault.value,
        "attempts": [_shown(attempt) for attempt in attempts],
    }
    if partial:
        details["partial"] = True
    return SeptemberError(last.fault.code, sentence, details, retry_after=retry_after)


def _shown(attempt: Attempt) -> dict[str, object]:
    target = f"{attempt.provider}:{attempt.model}"
    return {"target": target, "fault": attempt.fault.value, "message": attempt.message}


def quota_used_up(used: int, limit: int, retry_after: float) -> SeptemberError:
    """The error for a call that LLM_QUOTA_TOKENS forbids."""
    return SeptemberError(
        "LLM_RATE_LIMITED",
        f"this Engine's own quota is used up ({used} of {limit} tokens); try again in "
        f"{retry_after:.0f} s or raise LLM_QUOTA_TOKENS",
        {"used_tokens": used, "quota_tokens": limit},
        retry_after=retry_after,
    )


def not_configured(target: Target) -> SeptemberError:
    """The error for a model whose provider has no key here."""
    return SeptemberError(
        "LLM_PROVIDER_ERROR",
        f"{target} needs the provider {target.provider}, which is not configured; set "
        f"{target.provider.upper()}_API_KEY",
        {"provider": target.provider, "model": target.model},
    )
