"""Head-room of a turn: measures its context before each model call, and has it condensed."""

from functools import partial
from typing import Final

from ....actors import ActorError, work_span
from ....errors import SeptemberError
from ....logs import get_logger
from ...channels.channel import Channel
from ...channels.events import CompactionEvent
from ...herald.conversation import TokenUsage
from ...learning.centre import LearnSoon
from ..context import Context, asked_at
from ..job import Job
from ..narration import usage_event
from ..workshop import Workshop
from . import condensed
from .compactor import Compact, Compaction, loaded
from .condensed import shown
from .plan import Room
from .sizing import Scale, estimate, messages_size

_log = get_logger("september.compaction")

GOAL: Final = 0.6
"""What a compaction leaves, of what makes one begin: so that the next one is some turns away."""

SLACK_S: Final = 5.0
"""What the compactor gets beyond its model's deadline."""

FORCED: Final = 2
"""How often one call is repeated after the provider found its context too long."""


class HeadRoom:
    """Keeps one turn's context within the window of its model (contract, section 19.14)."""

    def __init__(self, workshop: Workshop, job: Job, channel: Channel, window: int) -> None:
        self._workshop = workshop
        self._job = job
        self._channel = channel
        self._window = window
        self._scale: Scale | None = None
        self._sent = 0
        self._forced = 0

    async def make(self, context: Context) -> None:
        """Condense the context where it has come near the window; else do nothing."""
        scale = self._known_scale(context)
        self._sent = _size(context)
        if scale.tokens(self._sent) > self._limit() and self._workshop.limits.compaction:
            await self._condense(context, scale)

    async def regained(self, error: SeptemberError, context: Context) -> bool:
        """Condense after the provider's own verdict; whether the call may be repeated."""
        partly = error.details.get("partial", False)
        if error.code != "CONTEXT_OVERFLOW" or partly or not self._workshop.limits.compaction:
            return False
        if self._forced >= FORCED:
            return False
        self._forced += 1
        scale = self._known_scale(context).at_least(self._sent, self._window)
        self._scale = scale
        return await self._condense(context, scale)

    def learn(self, usage: TokenUsage) -> float:
        """A call went through: from now on measure as its provider does. The scale's ratio."""
        self._forced = 0
        self._scale = (self._scale or Scale()).learned(self._sent, usage.input_tokens)
        return self._scale.ratio

    def _known_scale(self, context: Context) -> Scale:
        if self._scale is None:
            self._scale = Scale(context.ratio)
        return self._scale

    def _limit(self) -> int:
        """Tokens of context at which to condense; the model's answer needs its room too."""
        limits, window = self._workshop.limits, self._window
        return max(window // 2, min(int(limits.compact_at * window), window - limits.max_tokens))

    async def _condense(self, context: Context, scale: Scale) -> bool:
        limit = scale.estimated(self._limit())
        others = self._sent - messages_size(context.messages)
        room = Room(int(limit * GOAL) - others, limit - others)
        if room.limit <= 0:
            return False
        with work_span("compact", room) as span:
            answer = await self._asked(Compact(self._job.task_id, room, scale))
            if answer is None:
                span.outcome = "nothing helps"
                return False
            await self._adopt(answer, context, scale)
        return True

    async def _asked(self, wanted: Compact) -> Compaction | None:
        """What the compactor answers; a failure of its own leaves everything as it is."""
        within = self._workshop.limits.compact_timeout_s + SLACK_S
        try:
            answer = await self._workshop.compactor.call(wanted, timeout=within)
        except (ActorError, SeptemberError) as error:
            _log.warning("not condensed", task_id=self._job.task_id, reason=repr(error))
            return None
        return answer if isinstance(answer, Compaction) else None

    async def _adopt(self, answer: Compaction, context: Context, scale: Scale) -> None:
        """Commit it with the event that tells of it: a crash leaves the old state or the new."""
        entries, _ = await self._workshop.database.read(partial(loaded, task_id=self._job.task_id))
        before, newest = self._sent, context.messages[-1]
        context.messages = shown(entries, answer.condensed)
        context.at = asked_at(context.messages)
        if newest.role == "user" and newest != entries[-1].message:
            context.messages.append(newest)  # said by the loop or a hook, and stored nowhere
        self._sent = _size(context)
        event = CompactionEvent(
            before_tokens=scale.tokens(before), after_tokens=scale.tokens(self._sent)
        )
        used = [usage_event(call) for call in answer.calls]
        keep = partial(
            condensed.keep,
            task_id=self._job.task_id,
            turn_id=self._job.turn_id,
            condensed=answer.condensed,
            before=event.before_tokens,
            after=event.after_tokens,
        )
        await self._channel.commit(*used, event, also=keep)
        self._workshop.learning.cast(LearnSoon(self._job.task_id))


def _size(context: Context) -> int:
    """The estimated tokens of all that is sent."""
    others = (context.system, context.definitions, context.aside)
    return estimate(others) + messages_size(context.messages)
