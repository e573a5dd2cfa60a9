"""The start of an Engine, watched until it is well, has ended, or takes too long."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

import trio

from ..actors import work_span
from ..config import FleetConfig
from .backends.backend import Backend, BackendError, Presence
from .engine_client import EngineClient, Unreachable

_LOOKS_S: Final = (0.05, 0.5)
_LOOK_SHARE: Final = 0.1
"""How long until the next look at an Engine that starts: a tenth of its time, within bounds."""

_STILL_THERE_S: Final = 1.0


class BootTimeout(Exception):
    """The Engine did not become healthy in time."""


@dataclass(frozen=True, slots=True)
class Boot:
    """Looks at an Engine that starts, again and again."""

    config: FleetConfig
    backend: Backend
    client: EngineClient

    async def wait(self, engine_id: UUID, url: str) -> int:
        """Wait until the Engine is well; returns how long that took, in ms.

        Raises BootTimeout, or BackendError when the instance has ended.
        """
        with work_span("boot", {"url": url}):
            return await self._until_well(engine_id, url)

    async def _until_well(self, engine_id: UUID, url: str) -> int:
        began = looked = trio.current_time()
        with trio.move_on_after(self.config.orch_boot_timeout_s):
            while not await self._is_well(url):
                if trio.current_time() - looked > _STILL_THERE_S:
                    looked = trio.current_time()
                    if await self.backend.status(engine_id) is not Presence.RUNNING:
                        raise BackendError("the Engine ended while it started; see its logs")
                await trio.sleep(_pause(trio.current_time() - began))
            return round((trio.current_time() - began) * 1000)
        raise BootTimeout

    async def _is_well(self, url: str) -> bool:
        try:
            return (await self.client.health(url, self.config.orch_health_check_timeout_s)).ok
        except Unreachable:
            return False


def _pause(waited: float) -> float:
    """Seconds until the next look, after `waited` seconds."""
    least, most = _LOOKS_S
    return min(most, max(least, waited * _LOOK_SHARE))
