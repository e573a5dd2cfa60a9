"""Every setting of the orchestrator, in one table, read once at boot.

Names and defaults are those of the contract (sections 18.10 and 20.11). Times are seconds.
"""
# ruff: noqa: RUF009  the calls in the table declare fields, as dataclasses.field does

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

from ..errors import ConfigError
from .kinds import FERNET_KEY, LIST, PATH, PORT, SECONDS, SECRET, TEXT, URL, Kind, number
from .secret import Secret
from .setting import one_of, optional, read, rows, setting, written_texts

BackendName: TypeAlias = Literal["docker", "subprocess"]
UrlMode: TypeAlias = Literal["auto", "network", "host"]
LogLevel: TypeAlias = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

_SIZE: Final = re.compile(r"(\d+)([kmg]?)", re.IGNORECASE)
_UNITS: Final = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}


def _parse_fernet_keys(text: str) -> Secret:
    for part in text.split(","):
        FERNET_KEY.parse(part.strip())
    return Secret(text)


def _parse_bytes(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("must be a size such as 512m or 2g")
    return int(match[1]) * _UNITS[match[2].lower()]


def _parse_cpus(text: str) -> float:
    try:
        cpus = float(text)
    except ValueError:
        cpus = 0
    if not 0 < cpus <= 1024:
        raise ValueError("must be a number of CPUs above 0, such as 0.5")
    return cpus


_FERNET_KEYS: Final = Kind("Fernet keys, comma, newest first", _parse_fernet_keys, secret=True)
_BYTES: Final = Kind("size", _parse_bytes)
_CPUS: Final = Kind("CPUs", _parse_cpus)


@dataclass(frozen=True, slots=True)
class FleetConfig:
    """The settings of one orchestrator. A field is its variable's name in lower case.

    `engine_env` is what the passthrough found: it goes to every Engine.
    """

    # Database and keys
    orch_database_url: Secret | None = optional(SECRET, "PostgreSQL; default: an embedded one")
    orch_db_pool_min: int = setting(number(1), "2", "Connections that are always open")
    orch_db_pool_max: int = setting(number(1), "10", "Connections that may be opened")
    orch_master_key: Secret | None = optional(_FERNET_KEYS, "Encrypts the Engines' keys")
    orch_admin_key: Secret | None = optional(SECRET, "What an operator sends in X-Admin-Key")
    orch_data_dir: Path = setting(PATH, "./data/fleet", "Embedded database, brains, logs")

    # Server
    orch_host: str = setting(TEXT, "127.0.0.1", "Address to listen on")
    orch_port: int = setting(PORT, "8000", "Port to listen on")
    orch_log_level: LogLevel = one_of(
        "INFO", "DEBUG", "WARNING", "ERROR", meaning="Least severity that is logged"
    )

    # Engines
    orch_engine_backend: BackendName = one_of("docker", "subprocess", meaning="What Engines run on")
    orch_engine_image: str = setting(TEXT, "september-engine:latest", "Image of new Engines")
    orch_engine_image_allow: tuple[str, ...] = setting(
        LIST, "", "More images that a provision may ask for"
    )
    orch_engine_env_passthrough: tuple[str, ...] = setting(
        LIST,
        "LLM_PROVIDER,LLM_MODEL,LLM_API_KEY,OPENAI_API_KEY,ANTHROPIC_API_KEY,GEMINI_API_KEY",
        "Variables that every Engine gets",
    )
    orch_engine_network: str = setting(TEXT, "engine_net", "Docker network of the Engines")
    orch_engine_bind: str = setting(
        TEXT, "127.0.0.1", "Address of the Docker host on which Engines are published"
    )
    orch_engine_url_mode: UrlMode = one_of(
        "auto", "network", "host", meaning="Whether URLs name containers or host ports"
    )
    orch_engine_memory: int = setting(_BYTES, "512m", "Most memory of an Engine")
    orch_engine_cpus: float = setting(_CPUS, "1.0", "Most CPU time of an Engine")
    orch_engine_pids: int = setting(number(1), "512", "Most processes of an Engine")
    orch_catalog_mount_path: Path | None = optional(PATH, "Catalog that every Engine mounts")
    orch_port_min: int = setting(PORT, "9001", "First host port for Engines")
    orch_port_max: int = setting(PORT, "9999", "Last host port for Engines")

    # Health, sleep, repair
    orch_boot_timeout_s: float = setting(SECONDS, "60", "Longest that an Engine may take to start")
    orch_health_check_interval_s: float = setting(SECONDS, "30", "Time between two probes")
    orch_health_check_timeout_s: float = setting(SECONDS, "10", "Longest that a probe may take")
    orch_health_max_failures: int = setting(number(1), "3", "Failed probes in a row to give up at")
    orch_restart_backoff_base_s: float = setting(SECONDS, "5", "Wait before the first restart")
    orch_restart_backoff_max_s: float = setting(SECONDS, "300", "Longest wait before a restart")
    orch_restart_max_attempts: int = setting(number(1), "8", "Restarts before giving up")
    orch_idle_sleep_threshold_s: int = setting(number(0), "0", "Idle time before sleep; 0: never")
    orch_reconcile_interval_s: float = setting(SECONDS, "60", "Time between two reconciliations")

    # Backups
    orch_backup_keep: int = setting(number(0), "7", "Newest backups kept of each user; 0: all")
    orch_backup_max_age_s: int = setting(
        number(0), "0", "Age at which a backup is deleted, the newest excepted; 0: never"
    )

    # Traces
    otel_exporter_otlp_endpoint: str | None = optional(
        URL, "OpenTelemetry collector (OTLP over HTTP); other OTEL_* variables hold, too"
    )
    orch_trace_ttl_s: float = setting(SECONDS, "604800", "How long traces are kept")
    orch_trace_max_mb: int = setting(number(1), "256", "Most that traces take, in MiB")

    engine_env: Mapping[str, Secret] = field(default_factory=dict[str, Secret])

    @property
    def master_keys(self) -> tuple[str, ...]:
        """The Fernet keys, newest first."""
        assert self.orch_master_key is not None  # load_fleet_config has refused a config without
        return tuple(key.strip() for key in self.orch_master_key.reveal().split(","))

    @property
    def images(self) -> frozenset[str]:
        """The images that a provision may ask for (contract, section 20.3)."""
        return frozenset({self.orch_engine_image, *self.orch_engine_image_allow})


FLEET_SETTINGS: Final = rows(FleetConfig)
"""Every setting, in the order of `FleetConfig`."""


def load_fleet_config(env: Mapping[str, str], dotenv: Path | None = None) -> FleetConfig:
    """Read the settings from `env` and, below it, from the file `dotenv` if there is one.

    Raises ConfigError, naming the variable and the remedy, at the first thing that is wrong.
    """
    values = read(FLEET_SETTINGS, env, dotenv)
    names = values.get("orch_engine_env_passthrough", FleetConfig().orch_engine_env_passthrough)
    texts = written_texts(env, dotenv)
    passed = {name: Secret(texts[name]) for name in names if texts.get(name)}
    config = FleetConfig(**values, engine_env=passed)
    _check(config)
    return config


def _check(config: FleetConfig) -> None:
    make = "`september fleet new-keys` makes one"
    if config.orch_master_key is None:
        raise ConfigError("ORCH_MASTER_KEY", f"is missing; set it to a Fernet key: {make}")
    if config.orch_admin_key is None:
        raise ConfigError("ORCH_ADMIN_KEY", f"is missing; set it to a long random text: {make}")
    if config.orch_port_min > config.orch_port_max:
        raise ConfigError("ORCH_PORT_MIN", "must not be above ORCH_PORT_MAX")
    if config.orch_db_pool_min > config.orch_db_pool_max:
        raise ConfigError("ORCH_DB_POOL_MIN", "must not be above ORCH_DB_POOL_MAX")
