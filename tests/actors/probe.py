"""An actor that does what the test says, and notes what happens to it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

import trio

from september.actors import Actor, ChildSpec, Down, Later, Message, Reply

T = TypeVar("T")


class Boom(Exception):
    """The crash that tests provoke."""


@dataclass(frozen=True, slots=True)
class Do(Message[T], Generic[T]):
    """Run `work` in the handler and answer with what it returns."""

    work: Callable[["Probe"], Awaitable[T]]


@dataclass(frozen=True, slots=True)
class DoLater(Message[T], Generic[T]):
    """Run `work` beside the inbox and answer with what it returns."""

    work: Callable[[], Awaitable[T]]


@dataclass(frozen=True, slots=True)
class Note(Message[None]):
    """Write something into the diary."""

    text: str


@dataclass(frozen=True, slots=True)
class Press(Message[None]):
    """Like Note, but urgent."""

    text: str


@dataclass(frozen=True, slots=True)
class Fell(Message[None]):
    """A watched actor went down."""

    down: Down


ProbeMessage: TypeAlias = Do[Any] | DoLater[Any] | Note | Press | Fell


@dataclass
class Diary:
    """What happened to a probe, over all its incarnations."""

    lines: list[str] = field(default_factory=list[str])
    downs: list[Down] = field(default_factory=list[Down])

    def write(self, line: str) -> None:
        self.lines.append(line)


class Probe(Actor[ProbeMessage]):
    """Does what it is told; its handler may suspend."""

    urgent = (Press,)

    def __init__(
        self,
        name: str = "probe",
        diary: Diary | None = None,
        *,
        on_start: Callable[[], Awaitable[None]] | None = None,
        on_stop: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.name = name
        self.diary = diary or Diary()
        self._on_start = on_start
        self._on_stop = on_stop

    async def started(self) -> None:
        self.diary.write(f"{self.name} started")
        if self._on_start is not None:
            await self._on_start()

    async def stopping(self) -> None:
        self.diary.write(f"{self.name} stopping")
        if self._on_stop is not None:
            await self._on_stop()

    async def handle(self, msg: ProbeMessage) -> Reply | Later:
        match msg:
            case Do(work):
                return msg.reply(await work(self))
            case DoLater(work):
                return msg.reply_after(work)
            case Note(text) | Press(text):
                self.diary.write(text)
            case Fell(down):
                self.diary.downs.append(down)
        return msg.done()


def probe(name: str, diary: Diary | None = None, **options: Any) -> ChildSpec[ProbeMessage]:
    """Write the spec of a probe; `options` are those of ChildSpec."""
    return ChildSpec(name, lambda: Probe(name, diary), **options)


async def crash(_: object = None) -> None:
    """Crash the actor that handles this."""
    raise Boom


def sleeping(seconds: float) -> Callable[[object], Awaitable[None]]:
    """Make work that takes this long."""

    async def work(_: object = None) -> None:
        await trio.sleep(seconds)

    return work


async def nothing(_: object = None) -> None:
    """Do nothing, with a checkpoint."""
    await trio.lowlevel.checkpoint()


async def incarnation(actor: Probe) -> int:
    """Tell which life this is."""
    return actor.incarnation


async def stop(actor: Probe) -> None:
    """Stop the actor that handles this."""
    actor.stop()
