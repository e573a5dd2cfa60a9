"""Failed Engines are restarted when their wait is over."""

from dataclasses import dataclass

from . import registry
from .audit import SYSTEM
from .instances import Operation
from .managed import Perform
from .resources import Resources
from .roster import Roster


@dataclass(frozen=True, slots=True)
class Healing:
    """Makes rounds; what a row says of its next restart survives everything."""

    resources: Resources
    roster: Roster

    async def round(self) -> None:
        """Restart whose time has come."""
        due = await self.resources.database.read(registry.due_for_restart)
        restart = Perform(Operation.RESTART, SYSTEM)
        await self.roster.tell_all((engine_id, restart) for engine_id in due)
