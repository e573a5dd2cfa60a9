"""Which backend a fleet has, and how its settings make it."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from ...config import FleetConfig
from ...config.fleet import UrlMode
from .backend import Backend
from .container import DockerSettings, Limits
from .docker import DockerBackend
from .subprocess import SubprocessBackend


def make_backend(config: FleetConfig, fleet: UUID) -> Backend:
    """The backend that is configured, for the fleet with this id."""
    if config.orch_engine_backend == "subprocess":
        root = config.orch_data_dir / "engines"
        return SubprocessBackend(root, config.engine_env, config.orch_catalog_mount_path)
    limits = Limits(config.orch_engine_memory, config.orch_engine_cpus, config.orch_engine_pids)
    settings = DockerSettings(
        fleet=fleet,
        image=config.orch_engine_image,
        network=config.orch_engine_network,
        limits=limits,
        bind=config.orch_engine_bind,
        by_name=_BY_NAME[config.orch_engine_url_mode],
        catalog=config.orch_catalog_mount_path,
    )
    return DockerBackend(settings)


_BY_NAME: Final[Mapping[UrlMode, bool | None]] = {"auto": None, "network": True, "host": False}
