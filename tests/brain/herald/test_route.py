"""Roles and targets."""

import pytest

from september.brain.herald.route import Models, Target, parse_target

MAIN = Target("anthropic", "big")
LIGHT = Target("anthropic", "small")
FALLBACK = Target("openai", "gpt-4o")


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("gpt-4o", Target("openai", "gpt-4o")),
        ("anthropic:claude-opus-5", Target("anthropic", "claude-opus-5")),
        ("llama3:8b", Target("openai", "llama3:8b")),
        ("ft:gpt-4o:team", Target("openai", "ft:gpt-4o:team")),
        ("gemini:models:x", Target("gemini", "models:x")),
    ],
)
def test_only_a_known_provider_before_the_first_colon_is_one(text: str, target: Target) -> None:
    assert parse_target(text, "openai") == target


def test_roles_without_a_model_of_their_own_use_the_main_one() -> None:
    models = Models(MAIN, light=LIGHT)
    assert models.route("light") == (LIGHT,)
    assert models.route("planner") == (MAIN,)


def test_the_fallback_comes_second_and_never_twice() -> None:
    models = Models(MAIN, light=FALLBACK, fallback=FALLBACK)
    assert models.route("main") == (MAIN, FALLBACK)
    assert models.route("light") == (FALLBACK,)


def test_a_model_an_agent_names_wins_over_its_role() -> None:
    models = Models(MAIN, light=LIGHT, fallback=FALLBACK)
    assert models.route("light", "openai:o9") == (Target("openai", "o9"), FALLBACK)
    assert models.target("main", "other") == Target("anthropic", "other")


def test_the_providers_are_those_of_all_models() -> None:
    assert Models(MAIN, fallback=FALLBACK).providers() == {"anthropic", "openai"}
