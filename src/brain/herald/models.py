"""What is known about models: context windows and prices, as data.

Prices are US dollars per million tokens at the standard tier, cache writes at the 5-minute rate.
They were collected on 2026-11-20 from copies of the providers' price pages taken between August
and November 2026 (platform.claude.com/docs/en/about-claude/pricing,
developers.openai.com/api/docs/pricing, ai.google.dev/gemini-api/docs/pricing) and have not been
checked against an invoice. A figure nobody could read is None here, and a model that is not
listed has no cost: a wrong price is worse than none.
"""

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from .conversation import TokenUsage

DEFAULT_WINDOW: Final = 128_000
"""Tokens assumed for a model that is not listed: the smallest window of a current model."""

SCRIPTED: Final = "scripted"
"""The provider that is no language model; its calls cost nothing."""


class Rates(Struct, frozen=True):
    """US dollars per million tokens. A cache rate of None is charged as `input`: an upper bound."""

    input: float
    output: float
    cache_hit: float | None = None
    cache_write: float | None = None


class LongPrompt(Struct, frozen=True):
    """Rates for a whole request whose prompt exceeds `above` tokens."""

    above: int
    rates: Rates


class ModelFacts(Struct, frozen=True):
    """One model. `window` is its context window in tokens, None if it could not be read."""

    window: int | None
    rates: Rates
    long_prompt: LongPrompt | None = None


_M: Final = 1_000_000
_GPT_6_LONG: Final = 272_000
_GEMINI_LONG: Final = 200_000

MODELS: Final[Mapping[str, ModelFacts]] = {
    "claude-fable-5-1": ModelFacts(_M, Rates(10, 50, 0.25, 12.5)),
    "claude-fable-5": ModelFacts(_M, Rates(10, 50, 1, 12.5)),
    "claude-opus-5-5": ModelFacts(_M, Rates(4, 20, 0.2, 5)),
    "claude-opus-5": ModelFacts(_M, Rates(5, 25, 0.5, 6.25)),
    "claude-opus-4-8": ModelFacts(None, Rates(5, 25, 0.5, 6.25)),
    "claude-opus-4-7": ModelFacts(None, Rates(5, 25, 0.5, 6.25)),
    "claude-opus-4-6": ModelFacts(None, Rates(5, 25, 0.5, 6.25)),
    "claude-opus-4-5": ModelFacts(200_000, Rates(5, 25, 0.5, 6.25)),
    "claude-sonnet-5-5": ModelFacts(_M, Rates(2, 10, 0.1, 2.5)),
    "claude-sonnet-5": ModelFacts(_M, Rates(2, 10, 0.2, 2.5)),
    "claude-sonnet-4-6": ModelFacts(None, Rates(3, 15, 0.3, 3.75)),
    "claude-sonnet-4-5": ModelFacts(200_000, Rates(3, 15, 0.3, 3.75)),
    "claude-haiku-5-5": ModelFacts(
        _M, Rates(0.1, 0.5, 0.01, 0.125), LongPrompt(100_000, Rates(0.5, 2.5, 0.05, 0.625))
    ),
    "claude-haiku-4-5": ModelFacts(200_000, Rates(1, 5, 0.1, 1.25)),
    "gpt-6.1-sol": ModelFacts(
        1_050_000, Rates(2, 10, 0.1, 2.5), LongPrompt(_GPT_6_LONG, Rates(4, 15, 0.2))
    ),
    "gpt-6.1-terra": ModelFacts(None, Rates(1, 5, 0.05, 1.25)),
    "gpt-6-astra": ModelFacts(None, Rates(10, 50, 1)),
    "gpt-6-sol": ModelFacts(None, Rates(2, 10, 0.2, 2.5)),
    "gpt-6-luna": ModelFacts(None, Rates(0.1, 0.5, 0.01, 0.125)),
    "gpt-5.6-sol": ModelFacts(1_050_000, Rates(4, 20, 0.4)),
    "gpt-5.6-terra": ModelFacts(None, Rates(2, 12, 0.2)),
    "gpt-5.6-luna": ModelFacts(None, Rates(0.2, 1.2, 0.02)),
    "gpt-4.1": ModelFacts(_M, Rates(2, 8, 0.5)),
    "gpt-4.1-mini": ModelFacts(_M, Rates(0.4, 1.6, 0.1)),
    "gpt-4.1-nano": ModelFacts(_M, Rates(0.1, 0.4, 0.025)),
    "gpt-4o": ModelFacts(128_000, Rates(2.5, 10, 1.25)),
    "gpt-4o-mini": ModelFacts(128_000, Rates(0.15, 0.6, 0.075)),
    "gemini-3.8-flash": ModelFacts(_M, Rates(0.75, 3.75)),
    "gemini-3.6-flash": ModelFacts(_M, Rates(0.75, 3.75, 0.075)),
    "gemini-3.5-flash": ModelFacts(_M, Rates(1.5, 9, 0.15)),
    "gemini-3.1-pro-preview": ModelFacts(
        None, Rates(2, 12, 0.2), LongPrompt(_GEMINI_LONG, Rates(4, 18))
    ),
    "gemini-2.5-pro": ModelFacts(
        _M, Rates(1.25, 10, 0.125), LongPrompt(_GEMINI_LONG, Rates(2.5, 15, 0.25))
    ),
    "gemini-2.5-flash": ModelFacts(_M, Rates(0.3, 2.5)),
}
"""Models by the name their provider gives them, without a date."""

_DATE = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2}|latest)$")


def facts(model: str) -> ModelFacts | None:
    """What is known about `model`; a dated snapshot is known by its undated name."""
    return MODELS.get(model) or MODELS.get(_DATE.sub("", model))


def window(model: str, override: int | None = None) -> int:
    """Context window in tokens. `override` is LLM_CONTEXT_WINDOW and wins over the table."""
    known = facts(model)
    return override or (known.window if known else None) or DEFAULT_WINDOW


def cost_usd(provider: str, model: str, usage: TokenUsage) -> float | None:
    """What a call cost at list price, in US dollars; None for a model that is not listed."""
    if provider == SCRIPTED:
        return 0.0
    known = facts(model)
    return None if known is None else _charge(_rates(known, usage.input_tokens), usage)


def _rates(known: ModelFacts, prompt_tokens: int) -> Rates:
    long = known.long_prompt
    return long.rates if long and prompt_tokens > long.above else known.rates


def _charge(rates: Rates, usage: TokenUsage) -> float:
    fresh = max(0, usage.input_tokens - usage.cache_hit_tokens - usage.cache_write_tokens)
    hit = rates.input if rates.cache_hit is None else rates.cache_hit
    write = rates.input if rates.cache_write is None else rates.cache_write
    dollars = (
        fresh * rates.input
        + usage.cache_hit_tokens * hit
        + usage.cache_write_tokens * write
        + usage.output_tokens * rates.output
    )
    return dollars / 1_000_000
