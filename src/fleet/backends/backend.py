"""What Engines run on: five verbs, a list and a watch. Nothing here assumes one host.

A backend knows instances by Engine id. What an Engine must keep (its brain) is storage that goes
with the id: it survives everything but `destroy`. Every verb may be repeated.

Every verb that changes something carries the generation for which it is done. A backend that has
seen a higher one for the same Engine refuses with `Fenced`: an orchestrator that was overtaken
changes nothing any more.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from uuid import UUID

import msgspec

from ...config import Secret


class Presence(Enum):
    """What a backend says about an instance. That it does not answer is `BackendUnreachable`."""

    RUNNING = "running"
    STOPPED = "stopped"
    ABSENT = "absent"


class BackendError(Exception):
    """A backend could not do what it was asked."""


class BackendUnreachable(BackendError):
    """The backend does not answer: nothing is known, least of all that something is gone."""


class Fenced(BackendError):
    """The generation is not the newest: whoever holds it has been overtaken."""


class PortTaken(BackendError):
    """Something else listens on the port."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} is taken")
        self.port = port


class NoInstance(BackendError):
    """There is no instance to start: it has to be created."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """An instance as it should be. `env` is complete; `port` is on the host, if it has one."""

    engine_id: UUID
    generation: int
    image: str
    port: int
    env: Mapping[str, Secret]

    @property
    def digest(self) -> str:
        """Changes when the instance has to be made anew; the generation is no part of it."""
        env = {name: value.reveal() for name, value in sorted(self.env.items())}
        text = msgspec.json.encode((self.image, self.port, env))
        return hashlib.sha256(text).hexdigest()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an instance answers, and what its backend calls it."""

    url: str
    container_id: str | None = None


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance that a backend has. `generation` is the one it was made for."""

    engine_id: UUID
    presence: Presence
    generation: int


@dataclass(frozen=True, slots=True)
class Died:
    """An instance ended that nobody had asked to."""

    engine_id: UUID
    reason: str


class Backend(ABC):
    """The contract. Any verb may raise BackendUnreachable or BackendError."""

    @abstractmethod
    def running(self) -> AbstractAsyncContextManager[None]:
        """Hold what the backend needs while it is used: connections, reapers."""

    @abstractmethod
    async def create(self, spec: EngineSpec) -> Endpoint:
        """Have an instance of exactly this spec run; one of another spec is replaced.

        Raises PortTaken, Fenced.
        """

    @abstractmethod
    async def start(self, engine_id: UUID, generation: int) -> Endpoint:
        """Start the instance if it is stopped. Raises NoInstance, PortTaken, Fenced."""

    @abstractmethod
    async def stop(self, engine_id: UUID, generation: int, within: float = 30.0) -> None:
        """Ask it to stop, and after `within` seconds end it. None there is no error."""

    @abstractmethod
    async def destroy(self, engine_id: UUID, generation: int) -> None:
        """Remove the instance and its storage. None there is no error."""

    @abstractmethod
    async def status(self, engine_id: UUID) -> Presence:
        """Say whether there is an instance and whether it runs."""

    @abstractmethod
    async def list(self) -> tuple[Instance, ...]:
        """Every instance that belongs to this fleet."""

    @abstractmethod
    def watch(self) -> AsyncGenerator[Died]:
        """Tell of instances that end by themselves, from now on."""

    @abstractmethod
    async def logs(self, engine_id: UUID, lines: int) -> str:
        """The last lines that it wrote."""

    @abstractmethod
    async def snapshot(self, engine_id: UUID, generation: int) -> str:
        """Copy the storage of a stopped instance aside; returns the name of the copy."""

    @abstractmethod
    async def restore(self, engine_id: UUID, generation: int, snapshot: str) -> None:
        """Put a copy back in place of the storage of a stopped instance."""

    @abstractmethod
    async def export(self, engine_id: UUID, to: Path) -> None:
        """Write a consistent copy of the brain, running or not, to a file of this host."""

    @abstractmethod
    async def replace_brain(self, engine_id: UUID, generation: int, brain: Path) -> None:
        """Put a file of this host in place of the brain of a stopped instance. Raises Fenced."""
