"""Model facts: windows and prices."""

import pytest

from september.brain.herald.conversation import TokenUsage
from september.brain.herald.models import DEFAULT_WINDOW, MODELS, cost_usd, facts, window


def test_a_dated_snapshot_is_known_by_its_undated_name() -> None:
    assert facts("gpt-4o-2024-08-06") is MODELS["gpt-4o"]
    assert facts("claude-haiku-4-5-20251001") is MODELS["claude-haiku-4-5"]
    assert facts("gpt-4o-mini-latest") is MODELS["gpt-4o-mini"]


def test_a_newer_relative_is_not_mistaken_for_a_known_model() -> None:
    assert facts("gpt-4o-audio") is None
    assert facts("claude-opus-5-6") is None


def test_an_unknown_model_gets_a_careful_window_and_no_price() -> None:
    assert window("llama3:8b") == DEFAULT_WINDOW
    assert cost_usd("openai", "llama3:8b", TokenUsage(input_tokens=1000)) is None


def test_the_override_wins_over_the_table() -> None:
    assert window("gpt-4o", 8_000) == 8_000


def test_cached_tokens_are_part_of_the_input_and_charged_at_their_own_rate() -> None:
    usage = TokenUsage(
        input_tokens=1_000_000,
        output_tokens=100_000,
        cache_hit_tokens=600_000,
        cache_write_tokens=100_000,
    )
    expected = 0.3 * 5 + 0.6 * 0.5 + 0.1 * 6.25 + 0.1 * 25
    assert cost_usd("anthropic", "claude-opus-5", usage) == pytest.approx(expected)


def test_a_long_prompt_changes_the_rate_of_the_whole_request() -> None:
    short = TokenUsage(input_tokens=100_000)
    long = TokenUsage(input_tokens=100_001)
    assert cost_usd("anthropic", "claude-haiku-5-5", short) == pytest.approx(0.01)
    assert cost_usd("anthropic", "claude-haiku-5-5", long) == pytest.approx(0.05, rel=1e-4)


def test_the_scripted_provider_costs_nothing_whatever_the_model_is_called() -> None:
    assert cost_usd("scripted", "gpt-4o", TokenUsage(input_tokens=10**6)) == 0.0


@pytest.mark.parametrize("name", MODELS)
def test_the_table_is_plausible(name: str) -> None:
    known = MODELS[name]
    assert known.window is None or known.window >= 100_000
    assert 0 < known.rates.input < known.rates.output
    assert known.rates.cache_hit is None or known.rates.cache_hit < known.rates.input
    if known.long_prompt is not None:
        assert known.long_prompt.rates.input > known.rates.input
