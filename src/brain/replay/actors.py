"""The Engine's actors that can be replayed: how to make a fresh one, and what it takes."""

from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

from msgspec import Struct

from ...actors import Actor
from ...config import EngineConfig
from ...errors import SeptemberError
from ...traces.render import Renderer
from ...traces.replay import Replay, replay
from ...traces.row import TraceRow
from ..coordinator.slots import SlotMessage, TaskSlots


class Replayable(Struct, frozen=True):
    """An actor whose answers follow from its settings and its messages alone."""

    fresh: Callable[[EngineConfig], Actor[Any]]
    takes: object

    @property
    def messages(self) -> dict[str, type]:
        """The types of its messages, by name."""
        return {kind.__name__: kind for kind in get_args(self.takes)}


REPLAYABLE: Final[Mapping[str, Replayable]] = {
    "engine/tasks/slots": Replayable(
        lambda config: TaskSlots(config.task_slots, config.task_queue), SlotMessage
    ),
}
"""By path. Others answer by the clock, the brain, a provider or a process; a whole turn of theirs
is replayed instead: see turn.py."""


async def replay_mailbox(rows: list[TraceRow], config: EngineConfig) -> Replay:
    """Replay a recorded mailbox with the code and the settings of here and now.

    Raises INVALID_REQUEST for an actor that cannot be replayed.
    """
    path = rows[0].path
    actor = REPLAYABLE.get(path)
    if actor is None:
        raise SeptemberError(
            "INVALID_REQUEST",
            f"{path} cannot be replayed from its mailbox alone: what it answers depends on more"
            f" than its messages. These can: {', '.join(REPLAYABLE)}; or give the id of a turn",
            {"actor": path},
        )
    return await replay(rows, lambda: actor.fresh(config), actor.messages, Renderer())
