"""When a failed model call is tried again, and how long to wait before that: pure arithmetic."""

from random import Random
from typing import TypeAlias

from msgspec import Struct

from .provider import Fault, ProviderError


class RetryPolicy(Struct, frozen=True):
    """How patient a call is. Times are in seconds.

    The wait before attempt n+1 is uniform in 0..min(cap, base * 2**(n-1)) ("full jitter", from
    Amazon's builders' library); base 1 s is the contract's advice for LLM_RATE_LIMITED (section
    2.1). A provider's own Retry-After replaces it, plus up to `base` so that not all return at
    once. A wait longer than `longest_wait_s` is not waited: the caller hears it as retry_after.
    """

    attempts: int = 4
    base_s: float = 1.0
    cap_s: float = 20.0
    longest_wait_s: float = 30.0


class Wait(Struct, frozen=True):
    """Try again after `seconds`."""

    seconds: float


class GiveUp(Struct, frozen=True):
    """Do not try this model again. `reason` completes the sentence "gave up because ..."."""

    reason: str


Decision: TypeAlias = Wait | GiveUp


def decide(
    policy: RetryPolicy, failure: ProviderError, attempt: int, left_s: float, random: Random
) -> Decision:
    """Say what follows failure number `attempt` (from 1) with `left_s` seconds on the clock."""
    if not failure.fault.retryable:
        return GiveUp(f"{failure.fault.value} does not pass with time")
    if attempt >= policy.attempts:
        return GiveUp(f"{attempt} attempts failed")
    seconds = backoff(policy, failure.retry_after, attempt, random)
    if failure.retry_after is not None and failure.retry_after > policy.longest_wait_s:
        return GiveUp(f"the provider asks for {failure.retry_after:.0f} s of patience")
    if seconds >= left_s:
        return GiveUp("the turn's deadline comes before the next attempt")
    return Wait(seconds)


def backoff(policy: RetryPolicy, retry_after: float | None, attempt: int, random: Random) -> float:
    """Seconds between failure number `attempt` and the next attempt."""
    if retry_after is not None:
        return retry_after + random.uniform(0.0, policy.base_s)
    return random.uniform(0.0, min(policy.cap_s, policy.base_s * 2.0 ** (attempt - 1)))


def is_providers_own(fault: Fault) -> bool:
    """Whether the fault speaks about the provider rather than about this one request."""
    return fault not in {Fault.CONTEXT_OVERFLOW, Fault.REJECTED}
