"""Engines that exist only in memory, with faults on order: for tests, simulations and demos."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

import trio

from ..engine_client import Activity, Health, KeyRefused, Unreachable
from ..keys import sha256_of
from .backend import (
    Backend,
    BackendError,
    BackendUnreachable,
    Died,
    Endpoint,
    EngineSpec,
    Fenced,
    Instance,
    NoInstance,
    PortTaken,
    Presence,
)

_DIED_QUEUE: Final = 10_000


@dataclass(slots=True)
class FakeEngine:
    """An Engine as the fake has it. `brain` is its storage; `health` what it says of itself."""

    spec: EngineSpec
    presence: Presence
    key_hash: str
    health: Health = field(default_factory=lambda: Health(status="ok", activity=Activity()))
    answers: bool = True


@dataclass(slots=True)
class World:
    """What is outside any orchestrator: it goes on when one of them dies.

    `fault` is awaited before each verb with its name and the Engine's id; what it raises, the
    verb raises. `taken` are ports that something else listens on.
    """

    engines: dict[UUID, FakeEngine] = field(default_factory=dict[UUID, FakeEngine])
    storage: dict[UUID, str] = field(default_factory=dict[UUID, str])
    snapshots: dict[str, str] = field(default_factory=dict[str, str])
    newest: dict[UUID, int] = field(default_factory=dict[UUID, int])
    taken: set[int] = field(default_factory=set[int])
    bad_images: set[str] = field(default_factory=set[str])
    reachable: bool = True
    fault: Callable[[str, UUID | None], Awaitable[None]] | None = None
    calls: list[tuple[str, UUID]] = field(default_factory=list[tuple[str, UUID]])

    def at(self, url: str) -> FakeEngine:
        """The Engine that answers at `url`. Raises Unreachable."""
        engine = self.engines.get(UUID(url.removeprefix("fake://")))
        if engine is None or engine.presence is not Presence.RUNNING or not engine.answers:
            raise Unreachable("nobody answers")
        return engine


class FakeBackend(Backend):
    """The verbs on a world in memory."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        self._died = trio.open_memory_channel[Died](_DIED_QUEUE)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Nothing to hold."""
        yield

    async def create(self, spec: EngineSpec) -> Endpoint:
        """Make or replace it; a port somebody else's Engine runs on is taken."""
        await self._begin("create", spec.engine_id, spec.generation)
        world = self.world
        self._check_port(spec)
        if spec.image in world.bad_images and spec.image.startswith("no-such"):
            raise BackendError(f"there is no image {spec.image}")
        world.storage.setdefault(spec.engine_id, "")
        key_hash = spec.env["ENGINE_KEY_HASH"].reveal()
        there = world.engines.get(spec.engine_id)
        if there is None or there.spec.digest != spec.digest:
            answers = spec.image not in world.bad_images
            made = FakeEngine(spec, Presence.RUNNING, key_hash, answers=answers)
            world.engines[spec.engine_id] = made
        world.engines[spec.engine_id].presence = Presence.RUNNING
        return Endpoint(f"fake://{spec.engine_id}", spec.engine_id.hex[:12])

    async def start(self, engine_id: UUID, generation: int) -> Endpoint:
        """Set it running."""
        await self._begin("start", engine_id, generation)
        engine = self.world.engines.get(engine_id)
        if engine is None:
            raise NoInstance
        self._check_port(engine.spec)
        engine.presence = Presence.RUNNING
        return Endpoint(f"fake://{engine_id}", engine_id.hex[:12])

    async def stop(self, engine_id: UUID, generation: int, within: float = 30.0) -> None:
        """Set it stopped."""
        await self._begin("stop", engine_id, generation)
        engine = self.world.engines.get(engine_id)
        if engine is not None:
            engine.presence = Presence.STOPPED

    async def destroy(self, engine_id: UUID, generation: int) -> None:
        """Forget it, and its storage."""
        await self._begin("destroy", engine_id, generation)
        self.world.engines.pop(engine_id, None)
        self.world.storage.pop(engine_id, None)

    async def status(self, engine_id: UUID) -> Presence:
        """Look."""
        await self._reach("status", engine_id)
        engine = self.world.engines.get(engine_id)
        return Presence.ABSENT if engine is None else engine.presence

    async def list(self) -> tuple[Instance, ...]:
        """Look at all."""
        await self._reach("list", None)
        return tuple(
            Instance(engine_id, engine.presence, engine.spec.generation)
            for engine_id, engine in self.world.engines.items()
        )

    async def watch(self) -> AsyncGenerator[Died]:
        """What `die` tells."""
        async for died in self._died[1]:
            yield died

    async def logs(self, engine_id: UUID, lines: int) -> str:
        """It writes nothing."""
        await self._reach("logs", engine_id)
        return ""

    async def snapshot(self, engine_id: UUID, generation: int) -> str:
        """Copy the storage."""
        await self._begin("snapshot", engine_id, generation)
        if engine_id not in self.world.storage:
            raise BackendError("there is no brain yet")
        name = f"{engine_id.hex}-{generation}"
        self.world.snapshots[name] = self.world.storage[engine_id]
        return name

    async def restore(self, engine_id: UUID, generation: int, snapshot: str) -> None:
        """Put the copy back."""
        await self._begin("restore", engine_id, generation)
        self.world.storage[engine_id] = self.world.snapshots[snapshot]

    async def export(self, engine_id: UUID, to: Path) -> None:
        """Write the storage to a file."""
        await self._reach("export", engine_id)
        await trio.Path(to).write_text(self.world.storage[engine_id])

    async def replace_brain(self, engine_id: UUID, generation: int, brain: Path) -> None:
        """Read the storage from a file."""
        await self._begin("replace_brain", engine_id, generation)
        try:
            self.world.storage[engine_id] = await trio.Path(brain).read_text()
        except OSError as error:
            raise BackendError(str(error)) from error

    def die(self, engine_id: UUID, reason: str = "exit 1") -> None:
        """Have an Engine end by itself."""
        self.world.engines[engine_id].presence = Presence.STOPPED
        self._died[0].send_nowait(Died(engine_id, reason))

    def _check_port(self, spec: EngineSpec) -> None:
        others = (
            engine.spec.port
            for engine_id, engine in self.world.engines.items()
            if engine_id != spec.engine_id and engine.presence is Presence.RUNNING
        )
        if spec.port in self.world.taken or (len(self.world.engines) < 500 and spec.port in others):
            raise PortTaken(spec.port)

    async def _begin(self, verb: str, engine_id: UUID, generation: int) -> None:
        await self._reach(verb, engine_id)
        newest = self.world.newest.get(engine_id, 0)
        if generation < newest:
            raise Fenced(f"{verb} for generation {generation}, the newest is {newest}")
        self.world.newest[engine_id] = generation
        self.world.calls.append((verb, engine_id))

    async def _reach(self, verb: str, engine_id: UUID | None) -> None:
        if self.world.fault is not None:
            await self.world.fault(verb, engine_id)
        await trio.lowlevel.checkpoint()
        if not self.world.reachable:
            raise BackendUnreachable("the fake is told not to answer")


class FakeClient:
    """Asks the Engines of a world."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def health(self, url: str, within: float) -> Health:
        """What the Engine was told to say."""
        await trio.lowlevel.checkpoint()
        return self._world.at(url).health

    async def rotate(self, url: str, key: str, key_hash: str, overlap: float) -> float:
        """Change the key; the old one is refused at once."""
        await trio.lowlevel.checkpoint()
        engine = self._world.at(url)
        if sha256_of(key) != engine.key_hash:
            raise KeyRefused
        engine.key_hash = key_hash
        return overlap
