"""What every part of the orchestrator works with."""

from dataclasses import dataclass

from ..config import FleetConfig
from .backends.backend import Backend
from .engine_client import EngineClient
from .keys import Vault
from .membership import Standing
from .store.database import Database


@dataclass(frozen=True, slots=True)
class Resources:
    """One orchestrator's settings, its database, its backend, and what it is among others."""

    config: FleetConfig
    database: Database
    backend: Backend
    client: EngineClient
    vault: Vault
    standing: Standing
