"""The world of a simulated day: Engines that take their time, fall ill, hang and die.

What goes wrong is drawn from the seed; what was broken on purpose is remembered, so that whoever
looks for faults of the orchestrator does not find these.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from math import inf
from random import Random
from typing import Final
from uuid import UUID

import trio

from september.fleet.backends.backend import (
    BackendError,
    BackendUnreachable,
    Endpoint,
    EngineSpec,
    Presence,
)
from september.fleet.backends.fake import FakeBackend, FakeClient, World
from september.fleet.engine_client import Activity, Health, Unreachable

from .virtual import BEGINNING

HOUR: Final = 3600.0
MINUTE: Final = 60.0

_REFUSED: Final = 0.01
_SILENT: Final = 0.004
_STILLBORN: Final = 0.03
"""Shares of the verbs that fail, that get no answer, and of the boots that come to nothing."""


@dataclass(slots=True)
class Life:
    """What is known of an Engine besides what the fake keeps. Times are virtual seconds."""

    booted: bool = False
    ready_at: float = 0.0
    wounded_at: float | None = None
    turns: int = 0
    last_turn: float = 0.0
    written: int = 0
    wakes_at: float | None = None


@dataclass
class DayWorld:
    """Chance, and what it has done."""

    seed: int
    threshold: float
    world: World = field(default_factory=World)
    lives: dict[UUID, Life] = field(default_factory=lambda: defaultdict(Life))
    meant: set[UUID] = field(default_factory=set[UUID])
    """Engines that somebody is stopping, upgrading or destroying on purpose."""
    cursed: set[UUID] = field(default_factory=set[UUID])
    violations: list[str] = field(default_factory=list[str])
    happened: Counter[str] = field(default_factory=Counter[str])
    silent_until: float = 0.0
    poke: Callable[[UUID], None] = lambda _: None
    """Hears that an Engine is about to be put to sleep: its user may come back just then."""

    def __post_init__(self) -> None:
        self.chance = Random(self.seed)
        self.world.fault = self._fault

    def blame(self, what: str) -> None:
        """Note a violation."""
        now = BEGINNING + timedelta(seconds=trio.current_time())
        self.violations.append(f"{now:%H:%M:%S} {what}")

    def runs(self, engine_id: UUID) -> bool:
        """Whether an instance of it is up."""
        there = self.world.engines.get(engine_id)
        return there is not None and there.presence is Presence.RUNNING

    def is_excused(self, engine_id: UUID) -> bool:
        """Whether it is down by chance or on purpose."""
        return self.lives[engine_id].wounded_at is not None or engine_id in self.meant

    def was_silent(self, within: float) -> bool:
        """Whether the backend was out of reach in the last `within` seconds."""
        return trio.current_time() < self.silent_until + within

    def running(self) -> list[UUID]:
        """Engines that are up and well."""
        return [one for one in self.world.engines if self.runs(one) and not self.is_excused(one)]

    def wound(self, backend: "DayBackend") -> None:
        """Have something befall one running Engine."""
        running = self.running()
        if not running:
            return
        engine_id = self.chance.choice(running)
        life, what = self.lives[engine_id], self.chance.choice(("die", "vanish", "stop", "hang"))
        life.wounded_at = trio.current_time()
        life.booted = what == "hang"
        self.happened[what] += 1
        match what:
            case "die":
                backend.die(engine_id)
            case "vanish":
                del self.world.engines[engine_id]
            case "stop":
                self.world.engines[engine_id].presence = Presence.STOPPED
            case _:
                life.ready_at = inf

    def boots(self, engine_id: UUID) -> None:
        """Draw how an Engine comes up that was just started."""
        life = self.lives[engine_id]
        never = engine_id in self.cursed or self.chance.random() < _STILLBORN
        self.happened["stillborn" if never else "boots"] += 1
        life.ready_at = inf if never else trio.current_time() + self.chance.uniform(0.5, 8)
        life.booted, life.wounded_at = True, None

    async def _fault(self, verb: str, _: UUID | None) -> None:
        drawn = self.chance.random()
        if verb not in ("list", "status"):
            await trio.sleep(self.chance.uniform(0.02, 2.5))
        if drawn < _SILENT:
            self.happened["silent"] += 1
            raise BackendUnreachable("silent by chance")
        if drawn < _REFUSED and verb in ("create", "start", "snapshot"):
            self.happened["refused"] += 1
            raise BackendError("refused by chance")


class DayBackend(FakeBackend):
    """The fake, with boots that take time and an eye on whoever is stopped."""

    def __init__(self, day: DayWorld) -> None:
        super().__init__(day.world)
        self._day = day

    async def create(self, spec: EngineSpec) -> Endpoint:
        """Make it; what was not up before boots now."""
        engines = self._day.world.engines
        there = engines.get(spec.engine_id)
        made = await super().create(spec)
        if there is not engines[spec.engine_id] or not self._day.lives[spec.engine_id].booted:
            self._day.boots(spec.engine_id)
        return made

    async def start(self, engine_id: UUID, generation: int) -> Endpoint:
        """Start it; what was not up before boots now."""
        made = await super().start(engine_id, generation)
        if not self._day.lives[engine_id].booted:
            self._day.boots(engine_id)
        return made

    async def stop(self, engine_id: UUID, generation: int, within: float = 30.0) -> None:
        """Stop it. Nobody may be using it; somebody may come in this very moment."""
        day, life = self._day, self._day.lives[engine_id]
        if day.runs(engine_id) and not day.is_excused(engine_id):
            day.poke(engine_id)
        await super().stop(engine_id, generation, within)
        if life.booted and life.turns and not day.is_excused(engine_id):
            day.blame(f"{engine_id} was stopped in the middle of a turn")
        life.booted = False


class DayClient(FakeClient):
    """Asks Engines that may not be up yet, and tells of what goes on in them."""

    def __init__(self, day: DayWorld) -> None:
        super().__init__(day.world)
        self._day = day

    async def health(self, url: str, within: float) -> Health:
        """What the Engine says of itself, if it is up."""
        await super().health(url, within)
        life, now = self._life(url), trio.current_time()
        if now - life.last_turn > self._day.threshold:
            self._day.poke(UUID(url.removeprefix("fake://")))
        wake = life.wakes_at
        return Health(
            status="ok",
            activity=Activity(
                running_turns=life.turns,
                idle_seconds=now - life.last_turn,
                next_wake_at=BEGINNING + timedelta(seconds=wake) if wake else None,
            ),
        )

    async def rotate(self, url: str, key: str, key_hash: str, overlap: float) -> float:
        """Change the key of an Engine that is up."""
        self._life(url)
        return await super().rotate(url, key, key_hash, overlap)

    def _life(self, url: str) -> Life:
        life = self._day.lives[UUID(url.removeprefix("fake://"))]
        if trio.current_time() < life.ready_at:
            raise Unreachable("not up")
        return life
