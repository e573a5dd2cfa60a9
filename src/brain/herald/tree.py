"""Herald's part of the supervision tree, from the settings: providers, embedder, herald."""

from collections.abc import Callable, Mapping
from functools import partial

from ...actors import ChildSpec, Strategy, SupervisorSpec, ref_of
from ...config import EngineConfig, Secret
from ...errors import ConfigError
from .anthropic import AnthropicProvider
from .attachments import Attachments
from .budget import TurnBudget
from .cache_monitor import CachePolicy
from .embedder_local import LocalEmbedder
from .embedder_openai import BASE_URL, OpenAIEmbedder
from .embeddings import Embedder, EmbedderActor, EmbedderMessage, Embeddings
from .gateway import CallPolicy, Gateway
from .gemini import GeminiProvider
from .herald import Herald, HeraldMessage, HeraldPolicy
from .openai import OpenAIProvider
from .provider import Provider
from .provider_actor import ProviderActor, ProviderMessage
from .route import Models, Target, parse_target
from .scripted import ScriptedProvider
from .sdk import Timeouts


class HeraldSpecs:
    """The specs of Herald's actors, and how the rest of the Engine reaches them.

    Raises ConfigError for a model whose provider has no key, and for bad SCRIPTED_RULES.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self.models = models_of(config)
        self.providers: Mapping[str, ChildSpec[ProviderMessage]] = {
            name: ChildSpec(name, partial(ProviderActor, name, make))
            for name, make in provider_makers(config, self.models).items()
        }
        self._embedder = embedder_of(config)
        self.embedder: ChildSpec[EmbedderMessage] = ChildSpec(
            "embedder", lambda: EmbedderActor(self._embedder)
        )
        self.herald: ChildSpec[HeraldMessage] = ChildSpec("herald", self._herald)
        self.root = SupervisorSpec(
            "herald",
            (
                SupervisorSpec("providers", tuple(self.providers.values())),
                self.embedder,
                self.herald,
            ),
            strategy=Strategy.REST_FOR_ONE,
        )

    def gateway_opener(self, attachments: Attachments | None = None) -> Callable[[], Gateway]:
        """What makes a turn's gateway. To be called in the running tree."""
        herald = ref_of(self.herald)
        providers = {name: ref_of(spec) for name, spec in self.providers.items()}
        policy = self._call_policy()

        def open_gateway() -> Gateway:
            budget = self._turn_budget()
            return Gateway(herald, providers, self.models, policy, budget, attachments=attachments)

        return open_gateway

    @property
    def embedding_space(self) -> str:
        """The name of the space vectors live in: a brain filled under another is re-embedded."""
        return self._embedder.name

    def embeddings(self) -> Embeddings:
        """What the memory embeds with. To be called in the running tree."""
        embedder = self._embedder
        return Embeddings(ref_of(self.embedder), embedder.name, embedder.dimension)

    def _herald(self) -> Herald:
        config = self._config
        cache = CachePolicy() if config.cache_hit_monitor_enabled else None
        return Herald(
            HeraldPolicy(self.models, config.llm_quota_tokens, config.llm_quota_window_s, cache)
        )

    def _call_policy(self) -> CallPolicy:
        config = self._config
        return CallPolicy(
            max_tokens=config.max_tokens,
            idle_s=config.llm_idle_timeout_s,
            total_s=config.llm_timeout_s,
        )

    def _turn_budget(self) -> TurnBudget:
        """As much as MAX_ITERATIONS calls may write without the flag: no more, but in one go."""
        config = self._config
        return TurnBudget(
            config.max_tokens * config.max_iterations, enabled=config.token_budget_enabled
        )


def models_of(config: EngineConfig) -> Models:
    """The models the settings name; a bare name is one of LLM_PROVIDER."""

    def target(text: str | None) -> Target | None:
        return parse_target(text, config.llm_provider) if text else None

    return Models(
        main=parse_target(config.llm_model, config.llm_provider),
        light=target(config.light_model),
        planner=target(config.planner_model),
        fallback=target(config.fallback_model),
        window_override=config.llm_context_window or None,
    )


def provider_makers(config: EngineConfig, models: Models) -> dict[str, Callable[[], Provider]]:
    """How to make each provider that the models need or that has a key of its own.

    Raises ConfigError naming the key that is missing.
    """
    makers: dict[str, Callable[[], Provider]] = {}
    for name in ("anthropic", "openai", "gemini"):
        key = _key(config, name)
        if key is not None:
            makers[name] = _maker(config, name, key)
    if "scripted" in models.providers():
        provider = ScriptedProvider.from_file(
            config.scripted_rules, config.llm_idle_timeout_s, config.llm_context_window
        )
        makers["scripted"] = lambda: provider
    for name in sorted(models.providers() - makers.keys()):
        raise ConfigError(f"{name.upper()}_API_KEY", f"is missing; a model of {name} is configured")
    return makers


def _key(config: EngineConfig, provider: str) -> Secret | None:
    if provider == config.llm_provider:
        return config.provider_key
    own: Mapping[str, Secret | None] = {
        "anthropic": config.anthropic_api_key,
        "openai": config.openai_api_key,
        "gemini": config.gemini_api_key,
    }
    return own[provider]


def _maker(config: EngineConfig, provider: str, key: Secret) -> Callable[[], Provider]:
    timeouts = Timeouts(idle=config.llm_idle_timeout_s)
    url, kind = {
        "anthropic": (config.anthropic_base_url, AnthropicProvider),
        "openai": (config.openai_base_url, OpenAIProvider),
        "gemini": (config.gemini_base_url, GeminiProvider),
    }[provider]
    return partial(kind, key, base_url=url, timeouts=timeouts)


def embedder_of(config: EngineConfig) -> Embedder:
    """The embedder EMBEDDING_PROVIDER names. It loads nothing before its first text."""
    key = config.openai_api_key
    if config.embedding_provider == "local" or key is None:
        return LocalEmbedder()
    return OpenAIEmbedder(
        key,
        model=config.embedding_model,
        dimension=config.embedding_dim,
        base_url=config.openai_base_url or BASE_URL,
    )
