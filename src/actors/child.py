"""Specs: a supervision tree written down as data."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeAlias, TypeVar

from .actor import Actor
from .mailbox import Overflow

M = TypeVar("M")


class Restart(Enum):
    """After which ends a child is started again."""

    PERMANENT = "permanent"  # always
    TRANSIENT = "transient"  # after a crash
    TEMPORARY = "temporary"  # never


class Strategy(Enum):
    """Who is restarted when one child crashes."""

    ONE_FOR_ONE = "one_for_one"  # that child
    ONE_FOR_ALL = "one_for_all"  # all children
    REST_FOR_ONE = "rest_for_one"  # that child and those after it


@dataclass(frozen=True, slots=True)
class Intensity:
    """How many restarts within how many seconds a supervisor takes before it gives up."""

    restarts: int = 5
    seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds before a restart: `first`, then times `factor` up to `max`, ± the share `jitter`.

    Counts the restarts that are still within the intensity's window.
    """

    first: float = 0.05
    factor: float = 2.0
    max: float = 5.0
    jitter: float = 0.2

    def delay(self, attempt: int, chance: float) -> float:
        """Return the seconds before restart number `attempt` (from 1); `chance` is in [0, 1)."""
        seconds = min(self.max, self.first * self.factor ** min(attempt - 1, 64))
        return seconds * (1 + self.jitter * (2 * chance - 1))


def check_name(name: str) -> None:
    """Raise ValueError for a name that cannot be a part of a path."""
    if not name or "/" in name:
        raise ValueError(f"a child's name must be non-empty and without '/': {name!r}")


@dataclass(frozen=True, eq=False)
class ChildSpec(Generic[M]):
    """One actor: how to make it, when to restart it, how long it may take to stop (seconds).

    `mailbox` is in messages; `overflow` is for casts only; `keep_mailbox` keeps what is unread
    for the next incarnation after a crash; `urgent` adds to the actor's own urgent types.
    """

    name: str
    start: Callable[[], Actor[M]]
    restart: Restart = Restart.PERMANENT
    shutdown: float = 5.0
    mailbox: int = 256
    overflow: Overflow = Overflow.WAIT
    keep_mailbox: bool = True
    urgent: tuple[type, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.name)


@dataclass(frozen=True, eq=False)
class DynamicSpec(Generic[M]):
    """A supervisor whose children, all of one message type, are started by key at run time.

    Each key has its own restart intensity: one that is exhausted ends that child only.
    """

    name: str
    restart: Restart = Restart.TEMPORARY
    shutdown: float = 5.0
    mailbox: int = 256
    overflow: Overflow = Overflow.WAIT
    keep_mailbox: bool = True
    urgent: tuple[type, ...] = ()
    intensity: Intensity = field(default_factory=Intensity)
    backoff: Backoff = field(default_factory=Backoff)

    def __post_init__(self) -> None:
        check_name(self.name)

    def child(self, key: str, start: Callable[[], Actor[M]]) -> ChildSpec[M]:
        """Return the spec of the child under `key`."""
        return ChildSpec(
            name=key,
            start=start,
            restart=self.restart,
            shutdown=self.shutdown,
            mailbox=self.mailbox,
            overflow=self.overflow,
            keep_mailbox=self.keep_mailbox,
            urgent=self.urgent,
        )


@dataclass(frozen=True, eq=False)
class SupervisorSpec:
    """A supervisor and its children, started left to right and stopped right to left."""

    name: str
    children: tuple["AnySpec", ...] = ()
    strategy: Strategy = Strategy.ONE_FOR_ONE
    restart: Restart = Restart.PERMANENT
    intensity: Intensity = field(default_factory=Intensity)
    backoff: Backoff = field(default_factory=Backoff)

    def __post_init__(self) -> None:
        check_name(self.name)
        names = [child.name for child in self.children]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{self.name} has two children named {', '.join(twice)}")


AnySpec: TypeAlias = "ChildSpec[Any] | DynamicSpec[Any] | SupervisorSpec"
