"""Quota windows."""

from hypothesis import given
from hypothesis import strategies as st

from september.brain.herald.quota import QuotaWindow


def test_without_a_limit_everything_is_allowed() -> None:
    window = QuotaWindow(0, 60.0)
    window.charge(10**9, 0.0)
    assert window.retry_after(0.0) is None


def test_a_used_up_window_says_when_enough_of_it_has_passed() -> None:
    window = QuotaWindow(100, 60.0)
    window.charge(70, 0.0)
    window.charge(50, 20.0)
    assert window.retry_after(30.0) == 30.0
    assert window.retry_after(60.0) is None
    assert window.used(60.0) == 50


def test_a_call_larger_than_the_limit_blocks_until_it_leaves_the_window() -> None:
    window = QuotaWindow(100, 60.0)
    window.charge(1, 0.0)
    window.charge(500, 10.0)
    assert window.retry_after(10.0) == 60.0
    assert window.retry_after(70.0) is None


@given(
    limit=st.integers(1, 50),
    charges=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=20),
)
def test_retry_after_is_exactly_when_a_call_is_allowed_again(
    limit: int, charges: list[tuple[int, int]]
) -> None:
    window = QuotaWindow(limit, 10.0)
    now = 0.0
    spent: list[tuple[float, int]] = []
    for wait_s, tokens in charges:
        now += wait_s
        window.charge(tokens, now)
        spent.append((now, tokens))
    used = sum(tokens for at, tokens in spent if at + 10.0 > now)
    assert window.used(now) == used
    retry_after = window.retry_after(now)
    assert (retry_after is None) == (used < limit)
    if retry_after is not None:
        assert 0 < retry_after <= 10.0
        assert window.retry_after(now + retry_after + 1e-6) is None
