"""The pulse of a turn: a sign of life to whoever listens while nothing else is said."""

import trio
from msgspec import UNSET

from ..channels.channel import Channel
from ..channels.events import Heartbeat
from ..channels.log import IsFollowed
from ..clock import timestamp
from .job import Job
from .workshop import Workshop


class Pulse:
    """Sends a heartbeat after each `heartbeat_s` of silence, with the place in line if queued."""

    def __init__(self, workshop: Workshop, job: Job, channel: Channel) -> None:
        self._log = workshop.log
        self._every = workshop.limits.heartbeat_s
        self._job = job
        self._channel = channel

    async def run(self) -> None:
        """Beat until cancelled; nobody listening means no beat, so a long wait costs no rows."""
        while True:
            silent = trio.current_time() - self._channel.spoke_at
            if silent < self._every:
                await trio.sleep(self._every - silent)
            elif await self._log.call(IsFollowed(self._job.task_id)):
                await self._beat()
            else:
                await trio.sleep(self._every)

    async def _beat(self) -> None:
        ahead = await self._job.seat.ahead()
        # Committed, not emitted: until it is sent the channel has not spoken, and one would follow
        # at once.
        await self._channel.commit(Heartbeat(timestamp=timestamp(), queued=ahead or UNSET))
