"""The compactor: the actor that condenses transcripts, each within a deadline.

It writes nothing: the turn commits what it answers together with the event that tells of it. So
whatever happens here, the transcript is as it was.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeAlias, assert_never

import trio
from msgspec import Struct

from ....actors import Actor, Later, Message, Reply
from ....logs import get_logger
from ...herald.gateway import Completed, Gateway
from ...store.connection import Connection
from ...store.database import Database
from .. import transcript
from ..transcript import StoredMessage
from . import condensed
from .condensed import Condensed
from .digest import TOLD_SHARE, digest, joined, prose, told
from .plan import Plan, Room, plan
from .sizing import BYTES_PER_TOKEN, Scale
from .summary import NoSummary, Summariser

_log = get_logger("september.compaction")

EXTRACT: Final = "extract"
"""The author of a summary that no model wrote."""


class Compaction(Struct, frozen=True):
    """How the transcript is to be shown, and the model calls that this took."""

    condensed: Condensed
    calls: tuple[Completed, ...] = ()


class NothingHelps(Struct, frozen=True):
    """The transcript cannot be made to fit."""


class Compact(Message[Compaction | NothingHelps], Struct, frozen=True):
    """Condense the transcript of a task to `room`; `scale` says how its provider counts."""

    task_id: str
    room: Room
    scale: Scale


CompactorMessage: TypeAlias = Compact


class Compactor(Actor[CompactorMessage]):
    """Condenses transcripts. A model gets `within_s` seconds; after that none is needed."""

    replayable = True

    def __init__(
        self, database: Database, open_gateway: Callable[[], Gateway], within_s: float
    ) -> None:
        self._database = database
        self._open_gateway = open_gateway
        self._within_s = within_s

    async def handle(self, msg: CompactorMessage) -> Reply | Later:
        match msg:
            case Compact():
                work = _Work(self._database, self._open_gateway(), self._within_s, msg)
                return msg.reply_after(work.run)
            case _:
                assert_never(msg)


class _Work:
    """One compaction."""

    def __init__(
        self, database: Database, gateway: Gateway, within_s: float, wanted: Compact
    ) -> None:
        self._database = database
        self._within_s = within_s
        self._wanted = wanted
        self._tokens = wanted.room.summary
        self._summariser = Summariser(gateway, wanted.scale, max(1, self._tokens // 2))

    async def run(self) -> Compaction | NothingHelps:
        entries, held = await self._database.read(partial(loaded, task_id=self._wanted.task_id))
        planned = plan(entries, held, self._wanted.room)
        if planned is None:
            return NothingHelps()
        if not planned.gone:
            same = Condensed(held.upto_seq, planned.collapsed_seq, held.summary, held.author)
            return Compaction(same)
        return await self._summarised(planned, held)

    async def _summarised(self, planned: Plan, held: Condensed) -> Compaction:
        """What a model makes of it, with what was told; without a model what can be drawn out."""
        most = self._tokens * BYTES_PER_TOKEN
        text, author = await self._by_model(held.summary, planned.gone)
        if text:
            facts = told(held.summary, planned.gone, int(most * TOLD_SHARE))
            text = joined(text[: most - len(facts)], facts)
        else:
            text = digest(held.summary, planned.gone, most)
        shown = Condensed(planned.upto_seq, planned.collapsed_seq, text, author)
        return Compaction(shown, tuple(self._summariser.calls))

    async def _by_model(self, before: str, gone: Sequence[StoredMessage]) -> tuple[str, str]:
        with trio.move_on_after(self._within_s) as deadline:
            try:
                return await self._summariser.summarise(prose(before), gone)
            except NoSummary:
                pass
        if deadline.cancelled_caught:
            _log.warning("no summary in time", seconds=self._within_s)
        return "", EXTRACT


def loaded(connection: Connection, task_id: str) -> tuple[Sequence[StoredMessage], Condensed]:
    """What is shown of the transcript, back to the message that is being answered; and how."""
    held = condensed.held(connection, task_id)
    asked_at = transcript.last_asked_at(connection, task_id)
    after = max(0, min(held.upto_seq, asked_at - 1))
    return transcript.load(connection, task_id, after), held
