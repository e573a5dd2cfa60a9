"""The Learning Centre: the actor that learns from tasks when they have become idle."""

from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias, assert_never

import trio
from msgspec import Struct

from ...actors import Actor, ActorError, Later, Message, Reply
from ...errors import SeptemberError
from ...logs import get_logger
from ..clock import now_ms
from ..store.database import Database
from . import passes
from .material import Waiting
from .passes import Pass
from .study import Study

_log = get_logger("september.learning")

LEAST_S: Final = 0.05
"""The shortest rest between two rounds, in seconds."""


class Timing(Struct, frozen=True):
    """Idle time before a task is learned from, and the longest that it waits; seconds."""

    idle_s: float
    interval_s: float


class Standing(Struct, frozen=True):
    """How learning stands: what waits, what runs, and the last passes, newest first."""

    waiting: tuple[Waiting, ...]
    passes: tuple[Pass, ...]

    @property
    def next_at(self) -> int | None:
        """When the next pass may begin (ms); None when nothing waits."""
        return self.waiting[0].due if self.waiting else None

    @property
    def healthy(self) -> bool:
        """Whether the last pass did not fail."""
        return not self.passes or self.passes[0].status != "failed"


class Tick(Message[None], Struct, frozen=True):
    """Look for what is due."""


class Rested(Message[None], Struct, frozen=True):
    """A round is over; the next one is due in `seconds`."""

    seconds: float


class Learn(Message[tuple[Pass, ...]], Struct, frozen=True):
    """Learn now, from one task or from all that wait, however busy they are."""

    task_id: str | None = None


class LearnSoon(Message[None], Struct, frozen=True):
    """A task's turns leave its context: learn from it without waiting for it to be idle."""

    task_id: str


class Undo(Message["Pass | SeptemberError"], Struct, frozen=True):
    """Take a pass back."""

    pass_id: str


class GetStanding(Message[Standing], Struct, frozen=True):
    """How learning stands."""


LearningMessage: TypeAlias = Tick | Rested | Learn | LearnSoon | Undo | GetStanding


class LearningCentre(Actor[LearningMessage]):
    """Learns when tasks rest. A pass that was cut by a kill is taken up first."""

    replayable = True

    def __init__(
        self,
        study: Study,
        database: Database,
        timing: Timing,
        now: Callable[[], int] = now_ms,
    ) -> None:
        self._study = study
        self._database = database
        self._timing = timing
        self._now = now

    async def started(self) -> None:
        """Begin with what an earlier process left."""
        self.ref.cast(Tick())

    async def handle(self, msg: LearningMessage) -> Reply | Later:
        match msg:
            case Tick():
                self.beside(partial(self._round, self.ref.cast))
                return msg.done()
            case Rested(seconds):
                self.beside(partial(_later, seconds, partial(self.ref.cast, Tick())))
                return msg.done()
            case Learn(task_id):
                return msg.reply_after(partial(self._learn, task_id))
            case LearnSoon(task_id):
                self.beside(partial(self._learn_quietly, task_id))
                return msg.done()
            case Undo(pass_id):
                return msg.reply_after(partial(self._undo, pass_id))
            case GetStanding():
                return msg.reply_after(self._standing)
            case _:
                assert_never(msg)

    async def _round(self, tell: Callable[[Rested], None]) -> None:
        """Learn from every task that is due; then say when the next one will be."""
        try:
            for task_id in await self._study.unfinished():
                await self._study.learn(task_id)
            for one in await self._waiting():
                if one.due <= self._now():
                    await self._study.learn(one.task_id)
            rest = self._rest(await self._waiting())
        except (SeptemberError, ActorError) as error:
            _log.warning("learning waits", reason=str(error))
            rest = self._timing.idle_s
        tell(Rested(rest))

    def _rest(self, waiting: tuple[Waiting, ...]) -> float:
        """Until the next task is due; a task that ends meanwhile cannot be due before `idle_s`."""
        if not waiting:
            return self._timing.idle_s
        left = (waiting[0].due - self._now()) / 1000
        return min(max(left, LEAST_S), self._timing.idle_s)

    async def _waiting(self) -> tuple[Waiting, ...]:
        return await self._study.waiting(self._timing.idle_s, self._timing.interval_s)

    async def _learn(self, task_id: str | None) -> tuple[Pass, ...]:
        tasks = [task_id] if task_id is not None else [w.task_id for w in await self._waiting()]
        done = [await self._study.learn(task) for task in tasks]
        return tuple(one for several in done for one in several)

    async def _learn_quietly(self, task_id: str) -> None:
        try:
            await self._study.learn(task_id)
        except (SeptemberError, ActorError) as error:
            _log.warning("learning waits", task_id=task_id, reason=str(error))

    async def _undo(self, pass_id: str) -> "Pass | SeptemberError":
        try:
            return await self._study.undo(pass_id)
        except SeptemberError as refusal:
            return refusal

    async def _standing(self) -> Standing:
        return Standing(await self._waiting(), await self._database.read(passes.latest))


async def _later(seconds: float, tell: Callable[[], None]) -> None:
    await trio.sleep(seconds)
    tell()
