"""A managed Engine: the actor of one row, which does one thing at a time to it."""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never
from uuid import UUID

from ..actors import Actor, Message, Reply, work_span
from ..errors import SeptemberError
from .audit import SYSTEM
from .backends.backend import BackendError, Presence
from .instances import Engine, Operation, Status
from .lifecycle import Lifecycle
from .refusals import backend_unavailable

Outcome: TypeAlias = Engine | SeptemberError | None
"""The row afterwards, why it could not be done, or None when the Engine is gone."""


@dataclass(frozen=True, slots=True)
class Perform(Message[Outcome]):
    """Do this, on behalf of `by`; what is under way is finished first."""

    operation: Operation
    by: str
    wanted: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True)
class Settle(Message[Outcome]):
    """Finish what is under way."""


@dataclass(frozen=True, slots=True)
class Awaken(Message[Outcome]):
    """Wake it if it sleeps; asking for what another has asked for is the same."""

    by: str


@dataclass(frozen=True, slots=True)
class GoToSleep(Message[None]):
    """Stop it because it is idle, if it is still as it was `seen`."""

    seen: Engine


@dataclass(frozen=True, slots=True)
class NotWell(Message[None]):
    """It was `seen` to be running and is not well; `at_once` restarts it without a wait."""

    seen: Engine
    reason: str
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class Repair(Message[None]):
    """See to it that what runs is what the row says."""


@dataclass(frozen=True, slots=True)
class Leave(Message[None]):
    """The row is gone; told by the actor to itself, behind all who wait to hear the same."""


ManagedMessage: TypeAlias = Perform | Settle | Awaken | GoToSleep | NotWell | Repair | Leave


class ManagedEngine(Actor[ManagedMessage]):
    """Puts in order what is wanted of one Engine. Its row is the truth; it keeps none itself."""

    def __init__(self, engine_id: UUID, lifecycle: Lifecycle) -> None:
        self._id = engine_id
        self._lifecycle = lifecycle
        self._leaves = False

    async def handle(self, msg: ManagedMessage) -> Reply:
        match msg:
            case Perform(operation, by, wanted):
                work = self._lifecycle.perform(self._id, operation, by, **wanted)
                return msg.reply(await self._outcome(work))
            case Settle():
                return msg.reply(await self._outcome(self._lifecycle.settle(self._id)))
            case Awaken(by):
                return msg.reply(await self._outcome(self._awaken(by)))
            case GoToSleep(seen):
                await self._outcome(self._go_to_sleep(seen))
                return msg.done()
            case NotWell(seen, reason, at_once):
                await self._outcome(self._not_well(seen, reason, at_once=at_once))
                return msg.done()
            case Repair():
                await self._outcome(self._repair())
                return msg.done()
            case Leave():
                self.stop()
                return msg.done()
            case _:
                assert_never(msg)

    async def _outcome(self, work: Awaitable[Engine | None]) -> Outcome:
        """A refusal is an answer like any other; once the row is gone, so is this actor."""
        try:
            done = await work
        except SeptemberError as refusal:
            if refusal.code == "ENGINE_NOT_FOUND" and not self._leaves:
                self._leaves = True
                self.ref.cast(Leave())
            return refusal
        except BackendError as error:
            return backend_unavailable(str(error))
        return done

    async def _awaken(self, by: str) -> Engine | None:
        current = await self._lifecycle.settle(self._id)
        if current.status is not Status.SLEEPING:
            return current
        return await self._lifecycle.perform(self._id, Operation.WAKE, by)

    async def _go_to_sleep(self, seen: Engine) -> Engine | None:
        current = await self._lifecycle.settle(self._id)
        if current.generation != seen.generation or current.last_used_at != seen.last_used_at:
            return current
        if not await self._lifecycle.is_idle(current):
            return current
        return await self._lifecycle.perform(self._id, Operation.SLEEP, SYSTEM)

    async def _not_well(self, seen: Engine, reason: str, *, at_once: bool) -> Engine | None:
        with work_span(f"not_well {self._id}") as span:
            span.outcome, span.detail = "UNHEALTHY", reason
            failed = await self._lifecycle.ledger.fail(seen, reason, at_once=at_once)
            if failed is None or not at_once or failed.next_restart_at is None:
                return failed
            return await self._lifecycle.perform(self._id, Operation.RESTART, SYSTEM)

    async def _repair(self) -> Engine | None:
        current = await self._lifecycle.settle(self._id)
        presence = await self._lifecycle.backend.status(self._id)
        if current.status is Status.RUNNING and presence is not Presence.RUNNING:
            first = not current.restart_attempts  # of several, each waits its time
            return await self._not_well(current, f"instance {presence.value}", at_once=first)
        if current.status in (Status.SLEEPING, Status.STOPPED) and presence is Presence.RUNNING:
            await self._lifecycle.silence(self._id)
        return current
