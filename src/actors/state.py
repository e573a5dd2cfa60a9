"""The states of an actor's life, and the moves between them."""

from collections.abc import Mapping
from enum import Enum
from typing import Final


class State(Enum):
    """Where an actor is in its life."""

    NEW = "new"  # has an address, has never run
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"  # this incarnation is over; the supervisor has yet to decide
    DOWN = "down"  # another incarnation will follow
    STOPPED = "stopped"  # none will


MOVES: Final[Mapping[State, frozenset[State]]] = {
    State.NEW: frozenset({State.STARTING, State.STOPPED}),
    State.STARTING: frozenset({State.RUNNING, State.STOPPING}),
    State.RUNNING: frozenset({State.STOPPING}),
    State.STOPPING: frozenset({State.ENDED}),
    State.ENDED: frozenset({State.DOWN, State.STOPPED}),
    State.DOWN: frozenset({State.STARTING, State.STOPPED}),
    State.STOPPED: frozenset(),
}
