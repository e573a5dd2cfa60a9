"""The prompt-cache monitor."""

from september.brain.herald.cache_monitor import CacheMonitor, CachePolicy
from september.brain.herald.conversation import TokenUsage

POLICY = CachePolicy(threshold=0.6, calls=4, least_prompt=1000)
COLD = TokenUsage(input_tokens=2000)
WARM = TokenUsage(input_tokens=2000, cache_hit_tokens=1800)


def test_a_cache_that_works_raises_no_alert() -> None:
    monitor = CacheMonitor(POLICY)
    assert not any(monitor.record(usage) for usage in (COLD, WARM, WARM, WARM, WARM, WARM))
    assert monitor.ratio == 0.9


def test_a_cache_that_stopped_working_raises_one_alert_per_window() -> None:
    monitor = CacheMonitor(POLICY)
    alerts = [monitor.record(COLD) for _ in range(12)]
    assert [number for number, alert in enumerate(alerts, 1) if alert] == [4, 8, 12]
    assert alerts[3] is not None
    assert (alerts[3].ratio, alerts[3].threshold) == (0.0, 0.6)


def test_prompts_too_short_to_be_cached_are_not_counted() -> None:
    monitor = CacheMonitor(POLICY)
    assert not any(monitor.record(TokenUsage(input_tokens=999)) for _ in range(20))
    assert monitor.ratio is None
