"""Every setting of one Engine, in one table, read once at boot.

Names and defaults are those of the public documentation, where it has them. Times are seconds.
"""
# ruff: noqa: RUF009  the calls in the table declare fields, as dataclasses.field does

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias, cast

from ..errors import ConfigError
from .kinds import (
    FERNET_KEY,
    FLAG,
    KEY_HASH,
    LIST,
    PATH,
    PATHS,
    PORT,
    SECONDS,
    SECRET,
    SHARE,
    TEXT,
    URL,
    Kind,
    choice,
    number,
)
from .secret import Secret
from .setting import derived, one_of, optional, read, rows, setting

LlmProvider: TypeAlias = Literal["anthropic", "openai", "gemini", "scripted"]
EmbeddingProvider: TypeAlias = Literal["openai", "local"]
SandboxMode: TypeAlias = Literal["bubblewrap", "none"]
ScrubMode: TypeAlias = Literal["strict", "inherit"]
MigrationMode: TypeAlias = Literal["auto", "gate"]
LogLevel: TypeAlias = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

_NO_PATH: Final = Path()
_NO_EMBEDDER: Final = cast("EmbeddingProvider", "")
_EMBEDDERS: Final[Kind[EmbeddingProvider]] = choice("openai", "local")


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """The settings of one Engine. A field is its variable's name in lower case."""

    # Models
    llm_provider: LlmProvider = one_of(
        "openai", "anthropic", "gemini", "scripted", meaning="Whose models answer"
    )
    llm_model: str = setting(TEXT, "gpt-4o", "The model of every agent that names none")
    llm_api_key: Secret | None = optional(SECRET, "Key for LLM_PROVIDER")
    anthropic_api_key: Secret | None = optional(SECRET, "Anthropic's key")
    openai_api_key: Secret | None = optional(SECRET, "OpenAI's key; also for embeddings")
    gemini_api_key: Secret | None = optional(SECRET, "Gemini's key")
    anthropic_base_url: str | None = optional(URL, "A server that speaks Anthropic's protocol")
    openai_base_url: str | None = optional(URL, "A server that speaks OpenAI's protocol")
    gemini_base_url: str | None = optional(URL, "A server that speaks Gemini's protocol")
    scripted_rules: Path | None = optional(PATH, "Rules of the scripted provider")
    planner_model: str | None = optional(TEXT, "Model of the planner")
    light_model: str | None = optional(TEXT, "Model of compaction and summaries")
    fallback_model: str | None = optional(TEXT, "Model to use when the main one fails")
    llm_context_window: int = setting(
        number(0), "0", "Tokens that every model takes; 0: as known of each model"
    )
    max_tokens: int = setting(number(1), "4096", "Most tokens that one model call may write")
    token_budget_enabled: bool = setting(FLAG, "false", "Let a turn go on past MAX_TOKENS")
    llm_quota_tokens: int = setting(number(0), "0", "Tokens per quota window; 0: no quota")
    llm_quota_window_s: int = setting(number(0), "0", "Length of the quota window; 0: no quota")
    llm_timeout_s: float = setting(SECONDS, "600", "Longest that one model call may take")
    llm_idle_timeout_s: float = setting(SECONDS, "60", "Longest silence inside a model's stream")
    embedding_provider: EmbeddingProvider = derived(
        _EMBEDDERS, _NO_EMBEDDER, "Who embeds; default: openai if OPENAI_API_KEY is set, or local"
    )
    embedding_model: str = setting(TEXT, "text-embedding-3-small", "OpenAI's embedding model")
    embedding_dim: int = setting(number(1), "1536", "Dimensions of an embedding")

    # Brain and catalog
    sqlite_db_path: Path = setting(PATH, "/data/brain.sqlite", "The brain: one SQLite file")
    migrations: MigrationMode = one_of(
        "auto", "gate", meaning="gate: refuse to start while the brain needs a migration"
    )
    migrations_dir: Path | None = optional(PATH, "The brain's SQL files; default: built in")
    catalog_dir: Path | None = optional(PATH, "Agents, skills and tools; default: built in")

    # Server and key
    engine_host: str = setting(TEXT, "127.0.0.1", "Address to listen on")
    engine_port: int = setting(PORT, "8000", "Port to listen on")
    engine_api_key: Secret | None = optional(SECRET, "The Engine's key itself (development)")
    engine_key_hash: Secret | None = optional(KEY_HASH, "SHA-256 of the Engine's key")
    bap_key_rotation_min_overlap_seconds: int = setting(
        number(0), "0", "Shortest time in which the old and the new key both work"
    )
    bap_key_rotation_max_overlap_seconds: int = setting(
        number(0), "300", "Longest time in which the old and the new key both work"
    )
    cors_origins: tuple[str, ...] = setting(LIST, "", "Origins that browsers may call from")
    max_body_bytes: int = setting(number(1), "1048576", "Largest request body, in bytes")
    import_max_body_bytes: int = setting(
        number(1), "268435456", "Largest body of a /memory/import, in bytes"
    )
    drain_timeout_s: float = setting(SECONDS, "30", "Time that running turns get at SIGTERM")
    engine_log_level: LogLevel = one_of(
        "INFO", "DEBUG", "WARNING", "ERROR", meaning="Least severity that is logged"
    )

    # Turns
    task_slots: int = setting(number(1), "4", "Turns that may run at once")
    task_queue: int = setting(number(0), "64", "Turns that may wait for a slot")
    max_iterations: int = setting(number(1), "20", "Model calls that one turn may make")
    claude_code_max_tool_use_concurrency: int = setting(
        number(1), "10", "Tool calls of one message that run at once"
    )
    sub_agent_slots: int = setting(number(1), "8", "Sub-agents that run at once, at each depth")
    sub_agent_depth: int = setting(number(0), "2", "How deep sub-agents may call others; 0: none")
    sub_agent_max_iterations: int = setting(
        number(1), "10", "Model calls that one sub-agent may make"
    )
    sub_agent_max_tokens: int = setting(
        number(1), "32768", "Most tokens that one sub-agent may write in all"
    )
    compact_at: float = setting(SHARE, "0.8", "Share of the context window at which to compact")
    compact_timeout_s: float = setting(
        SECONDS, "60", "Time that a model gets to condense a conversation"
    )
    reactive_compact_enabled: bool = setting(FLAG, "true", "Compact when the context is full")
    channel_state_ttl_active: int = setting(number(1), "10800", "Life of a turn's events")
    channel_state_ttl_hitl: int = setting(number(1), "259200", "Life of an open question")
    working_memory_ttl: int = setting(number(1), "86400", "Life of a working memory entry")
    stop_hooks_enabled: bool = setting(FLAG, "true", "Run stop hooks")
    pre_tool_hooks_enabled: bool = setting(FLAG, "true", "Run hooks before a tool")
    post_tool_hooks_enabled: bool = setting(FLAG, "true", "Run hooks after a tool")
    hooks_settings_load_enabled: bool = setting(FLAG, "true", "Read hooks from the settings file")
    cache_hit_monitor_enabled: bool = setting(
        FLAG, "true", "Tell when prompt caching stops working"
    )

    # Media
    media_presend_validation_enabled: bool = setting(FLAG, "false", "Check media before sending")
    media_image_resize_enabled: bool = setting(FLAG, "false", "Shrink images that are too large")
    media_error_recovery_enabled: bool = setting(FLAG, "false", "Retry without a refused block")
    content_ingestion_enabled: bool = setting(
        FLAG, "false", "Read big documents through a tool instead of showing them whole"
    )
    media_max_body_bytes: int = setting(number(1), "33554432", "Largest body with media, in bytes")

    # Tools, sandbox, connectors
    brave_api_key: Secret | None = optional(SECRET, "Brave's key, for web_search")
    tavily_api_key: Secret | None = optional(SECRET, "Tavily's key, for web_search")
    brave_base_url: str = setting(
        URL, "https://api.search.brave.com", "A server that speaks Brave's search protocol"
    )
    tavily_base_url: str = setting(
        URL, "https://api.tavily.com", "A server that speaks Tavily's search protocol"
    )
    workspace_root: Path = derived(
        PATH, _NO_PATH, "Folder of the tasks' workspaces; default: workspaces beside the brain"
    )
    allowed_roots: tuple[Path, ...] = derived(
        PATHS, (), "Folders that tools may use; default: WORKSPACE_ROOT"
    )
    sandbox_mode: SandboxMode = one_of("bubblewrap", "none", meaning="What confines commands")
    sandbox_network: bool = setting(FLAG, "false", "Give commands the network")
    network_allow: tuple[str, ...] = setting(
        LIST, "", "Hosts to reach without asking (names, *.name, networks); none set: no such rule"
    )
    subprocess_scrub_mode: ScrubMode = one_of(
        "strict", "inherit", meaning="strict: commands see no variable of the Engine's own"
    )
    ad_encryption_key: Secret | None = optional(FERNET_KEY, "Encrypts connectors' credentials")
    oauth_redirect_base_url: str | None = optional(URL, "This Engine's address from outside")
    asset_directory_sandboxed: bool = setting(FLAG, "true", "Confine stdio MCP servers")

    # Learning and traces
    learning_idle_s: int = setting(number(1), "300", "Idle time before a task is learned from")
    learning_interval_s: int = setting(number(1), "3600", "Time between two rounds of learning")
    trace_max_mb: int = setting(number(1), "256", "Most space for traces, in MiB")
    trace_ttl: int = setting(number(1), "604800", "Life of a trace")
    otel_exporter_otlp_endpoint: str | None = optional(
        URL, "OpenTelemetry collector (OTLP over HTTP); other OTEL_* variables hold, too"
    )

    def __post_init__(self) -> None:
        if self.workspace_root == _NO_PATH:
            self._derive("workspace_root", self.sqlite_db_path.parent / "workspaces")
        if not self.allowed_roots:
            self._derive("allowed_roots", (self.workspace_root,))
        if self.embedding_provider == _NO_EMBEDDER:
            self._derive("embedding_provider", "openai" if self.openai_api_key else "local")
        if self.engine_key_hash is None and self.engine_api_key is not None:
            self._derive("engine_key_hash", hash_of(self.engine_api_key))

    @property
    def provider_key(self) -> Secret | None:
        """The key for `llm_provider`: LLM_API_KEY, or else the provider's own variable."""
        own = {
            "anthropic": self.anthropic_api_key,
            "openai": self.openai_api_key,
            "gemini": self.gemini_api_key,
        }
        return self.llm_api_key or own.get(self.llm_provider)

    def _derive(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # frozen: the only way while it is being made


SETTINGS: Final = rows(EngineConfig)
"""Every setting, in the order of `EngineConfig`: what the documentation and `doctor` print."""


def hash_of(key: Secret) -> Secret:
    """Return the SHA-256 of an Engine key as 64 lower-case hex digits (contract, section 2)."""
    return Secret(hashlib.sha256(key.reveal().encode()).hexdigest())


def load_engine_config(env: Mapping[str, str], dotenv: Path | None = None) -> EngineConfig:
    """Read the settings from `env` and, below it, from the file `dotenv` if there is one.

    Raises ConfigError, naming the variable and the remedy, at the first thing that is wrong.
    """
    values = read(SETTINGS, env, dotenv)
    config = EngineConfig(**values)
    _check_engine_key(config)
    _check_provider(config, model_given="llm_model" in values)
    _check_pairs(config)
    return config


def _check_engine_key(config: EngineConfig) -> None:
    if config.engine_key_hash is None:
        raise ConfigError(
            "ENGINE_KEY_HASH",
            "is missing; set it to the SHA-256 of the Engine's key (printf %s KEY | sha256sum), "
            "or for development set ENGINE_API_KEY to the key itself",
        )
    if config.engine_api_key and hash_of(config.engine_api_key) != config.engine_key_hash:
        raise ConfigError(
            "ENGINE_KEY_HASH", "is not the SHA-256 of ENGINE_API_KEY; set only one of the two"
        )


def _check_provider(config: EngineConfig, *, model_given: bool) -> None:
    provider = config.llm_provider
    if provider == "scripted":
        return
    if config.provider_key is None:
        raise ConfigError(
            "LLM_API_KEY",
            f"is missing; set it or {provider.upper()}_API_KEY (any text for a local server), "
            "or LLM_PROVIDER=scripted to run without a model",
        )
    if provider != "openai" and not model_given:
        raise ConfigError(
            "LLM_MODEL", f"is missing; set a model of {provider} (the default is OpenAI's)"
        )


def _check_pairs(config: EngineConfig) -> None:
    if config.embedding_provider == "openai" and config.openai_api_key is None:
        raise ConfigError("OPENAI_API_KEY", "is missing; set it or EMBEDDING_PROVIDER=local")
    if bool(config.llm_quota_tokens) != bool(config.llm_quota_window_s):
        raise ConfigError("LLM_QUOTA_TOKENS", "needs LLM_QUOTA_WINDOW_S, and the other way round")
    if config.bap_key_rotation_min_overlap_seconds > config.bap_key_rotation_max_overlap_seconds:
        raise ConfigError(
            "BAP_KEY_ROTATION_MIN_OVERLAP_SECONDS",
            "must not be above BAP_KEY_ROTATION_MAX_OVERLAP_SECONDS",
        )
