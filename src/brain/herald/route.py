"""Which model answers which kind of call: the roles and their targets, as data."""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from .models import window

Role: TypeAlias = Literal["main", "light", "planner"]
"""What a call is for: the agent's own turn, compaction and summaries, or the planner."""

PROVIDERS: Final = ("anthropic", "openai", "gemini", "scripted")
"""Every provider there is an adapter for."""


class Target(Struct, frozen=True):
    """A model at a provider."""

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}:{self.model}"


def parse_target(text: str, provider: str) -> Target:
    """Read `model` or `provider:model`; a model without a known provider is one of `provider`.

    Colons inside a model's name (`llama3:8b`, `ft:gpt-4o:team`) belong to the name.
    """
    prefix, colon, rest = text.partition(":")
    if colon and prefix in PROVIDERS:
        return Target(prefix, rest)
    return Target(provider, text)


class Models(Struct, frozen=True):
    """The configured models. `light` and `planner` fall back on `main` when not set.

    `window_override` is LLM_CONTEXT_WINDOW: tokens, for every model.
    """

    main: Target
    light: Target | None = None
    planner: Target | None = None
    fallback: Target | None = None
    window_override: int | None = None

    def target(self, role: Role, model: str | None = None) -> Target:
        """The model for `role`, or the model an agent names itself."""
        if model is not None:
            return parse_target(model, self.main.provider)
        by_role: Mapping[Role, Target | None] = {"light": self.light, "planner": self.planner}
        return by_role.get(role) or self.main

    def route(self, role: Role, model: str | None = None) -> tuple[Target, ...]:
        """The targets to try, in order: the model, then FALLBACK_MODEL."""
        first = self.target(role, model)
        if self.fallback is None or self.fallback == first:
            return (first,)
        return (first, self.fallback)

    def window(self, role: Role, model: str | None = None) -> int:
        """Context window of the model for `role`, in tokens."""
        return window(self.target(role, model).model, self.window_override)

    def providers(self) -> frozenset[str]:
        """Every provider these models need."""
        named = (self.main, self.light, self.planner, self.fallback)
        return frozenset(target.provider for target in named if target is not None)
