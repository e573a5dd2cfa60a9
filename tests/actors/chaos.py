"""Random trees, random faults: what the chaos tests draw and how a drawn plan is run."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import TypeAlias

import trio

from september.actors import (
    Actor,
    ActorCrashed,
    ActorError,
    ActorRef,
    Backoff,
    ChildSpec,
    Intensity,
    Later,
    Message,
    Overflow,
    Reply,
    Strategy,
    SupervisorSpec,
    Trace,
    running_tree,
)

CAPACITY = 3
SHUTDOWN_S = 1.0


class Act(Enum):
    """What a sender does with one actor."""

    CALL = "call"
    CAST = "cast"
    HURRIED = "hurried"  # a call with a timeout that is too short for slow work
    CANCELLED = "cancelled"  # a call whose caller gives up
    CRASH = "crash"
    CRASH_LATER = "crash_later"
    SLOW = "slow"
    LATER = "later"
    FORWARD = "forward"  # the actor calls another one, maybe in a circle
    NAP = "nap"


@dataclass(frozen=True)
class Step:
    """One act on the actor number `target`; `other` is whom it forwards to."""

    act: Act
    target: int
    other: int


@dataclass(frozen=True)
class Plan:
    """A tree and what is done to it. `stop_after` (s) stops it in the middle of things."""

    groups: tuple[tuple[Strategy, tuple[bool, ...]], ...]  # per actor: whether it is inline
    senders: tuple[tuple[Step, ...], ...]
    stop_after: float | None


@dataclass(frozen=True, slots=True)
class Job(Message[None]):
    """One step of one sender, on its way to an actor."""

    sender: int
    number: int
    act: Act
    other: ActorRef["Job"] | None = None


@dataclass
class Seen:
    """What a run has shown, for the invariants."""

    handled: dict[str, list[tuple[int, int]]] = field(
        default_factory=lambda: defaultdict[str, list[tuple[int, int]]](list)
    )
    heard: Counter[str] = field(default_factory=Counter[str])
    unfinished: int = 0
    high_water: int = 0
    tasks_left: int = 0
    trace: Trace = field(default_factory=partial(Trace, 100_000))


class Fault(Exception):
    """The crash that the plan asks for."""


class Awaiting(Actor[Job]):
    """An actor that may suspend. Three of four lives end badly, each in its own way."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    async def stopping(self) -> None:
        match self.incarnation % 4:
            case 1:
                raise Fault
            case 2:
                await trio.sleep(2 * SHUTDOWN_S)
            case 3:
                await self.ref.call(Job(-1, 0, Act.CALL))
            case _:
                pass

    async def handle(self, msg: Job) -> Reply | Later:
        self._seen.handled[self.ref.path].append((msg.sender, msg.number))
        match msg.act:
            case Act.CRASH:
                raise Fault
            case Act.CRASH_LATER:
                return msg.reply_after(_fail)
            case Act.LATER:
                return msg.reply_after(partial(trio.sleep, 0.2))
            case Act.SLOW | Act.HURRIED | Act.CANCELLED:
                await trio.sleep(0.2)
            case Act.FORWARD if msg.other is not None:
                await msg.other.call(Job(-1, 0, Act.CALL))
            case _:
                pass
        return msg.done()


class Inline(Actor[Job]):
    """An actor that is proven never to suspend."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    async def handle(self, msg: Job) -> Reply | Later:
        self._seen.handled[self.ref.path].append((msg.sender, msg.number))
        if msg.act is Act.CRASH:
            raise Fault
        if msg.act is Act.CRASH_LATER:
            return msg.reply_after(_fail)
        if msg.act in (Act.LATER, Act.SLOW, Act.HURRIED, Act.CANCELLED):
            return msg.reply_after(partial(trio.sleep, 0.2))
        return msg.done()


async def _fail() -> None:
    await trio.sleep(0.01)
    raise Fault


Refs: TypeAlias = list[ActorRef[Job]]


async def run_plan(plan: Plan, intensity: Intensity) -> Seen:
    """Build the tree, let all senders loose on it, and look at what is left afterwards."""
    seen = Seen()
    before = trio.lowlevel.current_statistics().tasks_living
    spec, children = _build(plan, seen, intensity)
    refs: Refs = []
    with trio.fail_after(100_000):
        async with trio.open_nursery() as senders:
            try:
                async with running_tree(spec, trace=seen.trace) as tree:
                    refs += [tree.ref(child) for child in children]
                    await _let_loose(plan, refs, seen, senders)
            except ActorError as error:
                seen.heard[type(error).__name__] += 1
            seen.high_water = max((ref.cell.mailbox.high_water for ref in refs), default=0)
    seen.tasks_left = trio.lowlevel.current_statistics().tasks_living - before
    return seen


async def _let_loose(plan: Plan, refs: Refs, seen: Seen, senders: trio.Nursery) -> None:
    done = trio.Event()
    for number, steps in enumerate(plan.senders):
        seen.unfinished += 1
        senders.start_soon(_send, number, steps, refs, seen, done)
    with trio.move_on_after(float("inf") if plan.stop_after is None else plan.stop_after):
        await done.wait()


async def _send(
    number: int, steps: tuple[Step, ...], refs: Refs, seen: Seen, done: trio.Event
) -> None:
    for at, step in enumerate(steps):
        ref = refs[step.target % len(refs)]
        job = Job(number, at, step.act, refs[step.other % len(refs)])
        try:
            await _act(ref, job)
            seen.heard["answer"] += 1
        except ActorError as error:
            seen.heard[type(error).__name__] += 1
            if isinstance(error, ActorCrashed):
                assert isinstance(error.__cause__, Fault | ActorError)
    seen.unfinished -= 1
    if not seen.unfinished:
        done.set()


async def _act(ref: ActorRef[Job], job: Job) -> None:
    match job.act:
        case Act.CAST | Act.CRASH_LATER:
            ref.cast(job)
        case Act.NAP:
            await trio.sleep(0.3)
        case Act.HURRIED:
            await ref.call(job, timeout=0.1)
        case Act.CANCELLED:
            with trio.move_on_after(0.1):
                await ref.call(job)
        case _:
            await ref.call(job)


def _build(
    plan: Plan, seen: Seen, intensity: Intensity
) -> tuple[SupervisorSpec, list[ChildSpec[Job]]]:
    children: list[ChildSpec[Job]] = []
    groups: list[SupervisorSpec] = []
    for at, (strategy, kinds) in enumerate(plan.groups):
        group = [_child(f"{number}", inline, seen) for number, inline in enumerate(kinds)]
        children += group
        groups.append(
            SupervisorSpec(
                f"group{at}",
                tuple(group),
                strategy,
                intensity=intensity,
                backoff=Backoff(first=0.01, max=0.1),
            )
        )
    return SupervisorSpec("root", tuple(groups), intensity=intensity), children


def _child(name: str, inline: bool, seen: Seen) -> ChildSpec[Job]:
    start: Callable[[], Actor[Job]] = partial(Inline if inline else Awaiting, seen)
    return ChildSpec(name, start, shutdown=SHUTDOWN_S, mailbox=CAPACITY, overflow=Overflow.WAIT)
