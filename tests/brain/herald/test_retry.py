"""Retry decisions: what is tried again, and after how long."""

from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from september.brain.herald.provider import Fault, ProviderError
from september.brain.herald.retry import GiveUp, RetryPolicy, Wait, backoff, decide


def failure(fault: Fault, retry_after: float | None = None) -> ProviderError:
    return ProviderError(fault, "said no", provider="test", retry_after=retry_after)


@pytest.mark.parametrize(
    "fault", [Fault.AUTH, Fault.REJECTED, Fault.CONTEXT_OVERFLOW], ids=lambda f: f.value
)
def test_a_fault_that_does_not_pass_with_time_is_not_tried_again(fault: Fault) -> None:
    assert isinstance(decide(RetryPolicy(), failure(fault), 1, inf, Random(0)), GiveUp)


@given(attempt=st.integers(1, 40), seed=st.integers())
def test_backoff_is_full_jitter_that_doubles_up_to_the_cap(attempt: int, seed: int) -> None:
    policy = RetryPolicy(base_s=1.0, cap_s=20.0)
    wait_s = backoff(policy, None, attempt, Random(seed))
    assert 0 <= wait_s <= min(20.0, 2.0 ** (attempt - 1))


def test_the_providers_own_wish_is_never_undercut() -> None:
    waits = [backoff(RetryPolicy(), 7.0, 1, Random(seed)) for seed in range(200)]
    assert min(waits) >= 7.0
    assert max(waits) <= 8.0
    assert len(set(waits)) > 100, "those who wait must not come back all at once"


def test_the_last_attempt_gives_up() -> None:
    policy = RetryPolicy(attempts=3)
    assert isinstance(decide(policy, failure(Fault.CUT), 2, inf, Random(0)), Wait)
    assert isinstance(decide(policy, failure(Fault.CUT), 3, inf, Random(0)), GiveUp)


def test_a_wish_beyond_the_bound_is_handed_to_the_caller_instead_of_waited_for() -> None:
    decision = decide(RetryPolicy(), failure(Fault.RATE_LIMITED, 31.0), 1, inf, Random(0))
    assert decision == GiveUp("the provider asks for 31 s of patience")


def test_nobody_waits_into_the_turns_deadline() -> None:
    limited = failure(Fault.RATE_LIMITED, 5.0)
    assert isinstance(decide(RetryPolicy(), limited, 1, 5.0, Random(0)), GiveUp)
    assert isinstance(decide(RetryPolicy(), limited, 1, 6.1, Random(0)), Wait)
