"""The roster: how the rest of the orchestrator reaches the actor of an Engine."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, TypeAlias, TypeVar
from uuid import UUID

import trio

from ..actors import ActorError, ActorRef, ActorStopped, DynamicRef
from ..actors.message import Asks
from ..errors import SeptemberError
from ..logs import get_logger
from . import refusals
from .instances import Engine
from .managed import ManagedEngine, ManagedMessage, Outcome

T = TypeVar("T")

_log = get_logger("september.fleet.roster")

AT_ONCE: Final = 20
"""How many Engines are started, stopped or repaired at once on nobody's behalf but our own."""

Ask: TypeAlias = Asks[ManagedMessage, Outcome] | Asks[ManagedMessage, None]


class Roster:
    """Starts the actor of an Engine when it is first needed."""

    def __init__(
        self, engines: DynamicRef[ManagedMessage], managed: Callable[[UUID], ManagedEngine]
    ) -> None:
        self._engines = engines
        self._managed = managed

    async def of(self, engine_id: UUID) -> ActorRef[ManagedMessage]:
        """The actor of this Engine."""
        return await self._engines.ensure(str(engine_id), partial(self._managed, engine_id))

    async def ask(self, engine_id: UUID, message: Asks[ManagedMessage, Outcome]) -> Engine | None:
        """Have something done; returns the row, None once it is gone. Raises SeptemberError."""
        outcome = await self.outcome(engine_id, message)
        if isinstance(outcome, SeptemberError):
            raise outcome
        return outcome

    async def outcome(self, engine_id: UUID, message: Asks[ManagedMessage, T]) -> T:
        """What the actor of this Engine answers."""
        try:
            return await (await self.of(engine_id)).call(message)
        except ActorStopped:  # its row is gone, and it left just then: the next one says so
            return await (await self.of(engine_id)).call(message)

    async def row(self, engine_id: UUID, message: Asks[ManagedMessage, Outcome]) -> Engine:
        """Have something done, after which there is still an Engine. Raises SeptemberError."""
        outcome = await self.ask(engine_id, message)
        if outcome is None:
            raise refusals.not_found()
        return outcome

    async def tell_all(self, messages: Iterable[tuple[UUID, Ask]]) -> None:
        """Have something done to many, a few at once; what fails there is written down there."""
        limit = trio.CapacityLimiter(AT_ONCE)

        async def tell(engine_id: UUID, message: Ask) -> None:
            async with limit:
                try:
                    await self.outcome(engine_id, message)
                except ActorError as error:  # one that crashes is no reason to leave the others
                    _log.error("an Engine's actor failed", engine=str(engine_id), why=str(error))

        async with trio.open_nursery() as nursery:
            for engine_id, message in messages:
                nursery.start_soon(tell, engine_id, message)

    async def keep(self, engine_ids: set[UUID]) -> None:
        """Have an actor for each of these, and for no other."""
        wanted = {str(engine_id) for engine_id in engine_ids}
        for key in set(self._engines.keys()) - wanted:
            await self._engines.stop(key)
        for engine_id in engine_ids:
            await self.of(engine_id)
