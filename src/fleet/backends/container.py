"""How an Engine's container is made: its name, its volume, its limits, what it may not do."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final
from uuid import UUID

from .backend import EngineSpec

PORT: Final = 8000
"""Where an Engine listens inside its container."""

UID: Final = 10001
USER: Final = f"{UID}:{UID}"
"""As the image has it; its volume belongs to it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a container may use: bytes, CPUs, processes."""

    memory: int
    cpus: float
    pids: int


@dataclass(frozen=True, slots=True)
class DockerSettings:
    """How the containers of a fleet are made.

    Containers that copy volumes are made of `image`. Ports are published on `bind`, an address of
    the daemon's host. `by_name` gives URLs on the network itself; None leaves that to what is
    found at run time.
    """

    fleet: UUID
    image: str
    network: str
    limits: Limits
    bind: str = "127.0.0.1"
    by_name: bool | None = None
    catalog: Path | None = None


def host_options(settings: DockerSettings, spec: EngineSpec) -> dict[str, object]:
    """Arguments of the SDK's `create_host_config`."""
    limits = settings.limits
    binds = [f"{volume_name(spec.engine_id)}:/data:rw"]
    if settings.catalog is not None:
        binds.append(f"{settings.catalog}:/catalog:ro")
    return {
        "binds": binds,
        "port_bindings": {PORT: (settings.bind, spec.port)},
        "restart_policy": {"Name": "unless-stopped"},
        "mem_limit": limits.memory,
        "memswap_limit": limits.memory,
        "nano_cpus": int(limits.cpus * 1e9),
        "pids_limit": limits.pids,
        "cap_drop": ["ALL"],
        "security_opt": [f"seccomp={_seccomp()}", "no-new-privileges"],
        "read_only": True,
        "tmpfs": {"/tmp": "rw,nosuid,nodev,size=64m"},
        "init": True,
    }


UNMASKED: Final = {"MaskedPaths": list[str](), "ReadonlyPaths": list[str]()}
"""bubblewrap mounts a fresh /proc, which a mask of the outer one forbids; the SDK has no word."""


def environment(settings: DockerSettings, spec: EngineSpec) -> dict[str, str]:
    """The variables of the container."""
    own = {
        "SQLITE_DB_PATH": "/data/brain.sqlite",
        "ENGINE_HOST": "0.0.0.0",
        "ENGINE_PORT": str(PORT),
    }
    if settings.catalog is not None:
        own["CATALOG_DIR"] = "/catalog"
    return {**{name: value.reveal() for name, value in spec.env.items()}, **own}


def container_name(engine_id: UUID) -> str:
    """What the container is called, also on its network."""
    return f"engine-{engine_id.hex[:12]}"


def volume_name(engine_id: UUID) -> str:
    """What its volume is called (contract, section 20.2)."""
    return f"engine-data-{engine_id.hex[:12]}"


def _seccomp() -> str:
    """Docker's own profile without what keeps an ordinary user from making namespaces."""
    package = __name__.rpartition(".")[0]
    return (files(package) / "seccomp.json").read_text(encoding="utf-8")
