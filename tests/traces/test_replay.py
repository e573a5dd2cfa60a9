"""Replay of a life: time, ids, crashes, work beside the inbox, callers that leave."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import trio

from september.actors import (
    Actor,
    ActorCrashed,
    ActorRef,
    ChildSpec,
    DynamicRef,
    DynamicSpec,
    Later,
    Message,
    Reply,
    SupervisorSpec,
    Trace,
    ref_of,
    running_tree,
)
from september.brain.coordinator.slots import (
    Admission,
    Admit,
    AwaitSlot,
    CountSlots,
    Full,
    Release,
    SlotMessage,
    TaskSlots,
)
from september.errors import SeptemberError
from september.traces.life import Life
from september.traces.recorder import Recorder
from september.traces.render import Renderer
from september.traces.replay import Replay, replay
from september.traces.row import TraceRow


def no_wall(read: Callable[[], int]) -> AbstractContextManager[None]:
    return nullcontext()


def again(life: Life, root: SupervisorSpec, **options: Any) -> Any:
    """The same, in a thread: a replay has a loop and a clock of its own."""
    return trio.to_thread.run_sync(partial(replay, life, root, no_wall, **options))


def life_in(rows: Sequence[TraceRow], path: str, at: str | None = None) -> Life:
    """What `rows` tell of the one life of the actor at `path`."""
    mine = [row for row in rows if row.path == path and row.kind == "message"]
    others = [row for row in rows if row.path != path and row.kind in ("message", "span")]
    births = [row for row in rows if row.kind in ("spawn", "stop", "crash")]
    return Life(path=path, incarnation=1, at=at, taken=mine, sent=others, births=births)


async def slots_life(at: str | None = None) -> Life:
    """Three turns for one slot: one runs, one waits, one gives up, one is refused."""
    trace = Trace()
    recorder = Recorder(trace, Renderer())
    spec, root = slots_tree(lambda: TaskSlots(1, 2))
    async with running_tree(root, trace=trace) as tree:
        slots = tree.ref(spec)
        for turn in ("a", "b", "c"):
            assert isinstance(await slots.call(Admit(turn)), Admission)
        assert isinstance(await slots.call(Admit("d")), Full)
        await slots.call(AwaitSlot("a"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(slots.call, AwaitSlot("b"))
            with trio.move_on_after(0.05):
                await slots.call(AwaitSlot("c"))
            await slots.call(Release("c"))
            await slots.call(Release("a"))
        await slots.call(CountSlots())
    return life_in(recorder.rows(recorder.take(1000)), "t/slots", at)


def slots_tree(start: Callable[[], TaskSlots]) -> tuple[ChildSpec[SlotMessage], SupervisorSpec]:
    spec: ChildSpec[SlotMessage] = ChildSpec("slots", start)
    return spec, SupervisorSpec("t", (spec,))


async def test_the_same_code_replays_to_the_same_answers() -> None:
    life = await slots_life()
    told: Replay = await again(life, slots_tree(lambda: TaskSlots(1, 2))[1])
    assert len(told.steps) == 1 + len(life.mailbox) >= 10
    assert told.difference is None and told.stopped is None


async def test_an_answer_that_comes_no_more_is_a_difference() -> None:
    told: Replay = await again(await slots_life(), slots_tree(lambda: TaskSlots(0, 3))[1])
    assert told.difference is not None
    assert told.difference.now == 'ok: Admission {"ahead":1}'


async def test_a_life_whose_start_was_lost_is_refused() -> None:
    life = await slots_life()
    lost = Life(path=life.path, incarnation=1, taken=life.mailbox)
    with pytest.raises(SeptemberError, match="its start was not recorded"):
        await again(lost, slots_tree(lambda: TaskSlots(1, 2))[1])


async def test_a_message_that_the_actor_takes_no_more_stops_the_replay_there() -> None:
    life = await slots_life()
    first = life.mailbox[0]
    renamed = [
        msgspec.structs.replace(row, message_type="Old") if row is first else row
        for row in life.taken
    ]
    told: Replay = await again(
        Life(path=life.path, incarnation=1, taken=renamed), slots_tree(lambda: TaskSlots(1, 2))[1]
    )
    assert told.why == "it takes no Old any more" and told.difference is None


@dataclass(frozen=True, slots=True)
class Hire(Message[str]):
    """Start a worker under an id of chance, and have it work."""

    job: str


@dataclass(frozen=True, slots=True)
class Done(Message[None]):
    """A worker has told of its end."""

    worker: str


@dataclass(frozen=True, slots=True)
class Break(Message[None]):
    """Crash."""


@dataclass(frozen=True, slots=True)
class Waited:
    """How long it took."""

    took_s: float


@dataclass(frozen=True, slots=True)
class Wait(Message[Waited]):
    """Wait for a moment; answer with how long that took."""


@dataclass(frozen=True, slots=True)
class Work(Message[int]):
    """What a worker does: answers with a number of chance."""

    job: str


class Worker(Actor[Work]):
    async def handle(self, msg: Work) -> Reply:
        return msg.reply(hash(uuid4()))


class Boss(Actor[Hire | Done | Break | Wait]):
    """Has children, timers, ids and its own work: all that a life may have."""

    replayable = True
    step_s = 0.05

    def __init__(self, workers: DynamicRef[Work]) -> None:
        self._workers = workers
        self._sums: dict[str, int] = {}

    async def started(self) -> None:
        self.beside(partial(self._tick, self.ref))

    async def handle(self, msg: Hire | Done | Break | Wait) -> Reply | Later:
        match msg:
            case Hire(job):
                worker = f"worker-{uuid4().hex}"
                ref = await self._workers.start(worker, Worker)
                self._sums[worker] = await ref.call(Work(job))
                return msg.reply(f"{worker} {self._sums[worker]}")
            case Done(worker):
                if worker:
                    del self._sums[worker]
                return msg.done()
            case Break():
                raise ValueError("as asked")
            case Wait():
                return msg.reply_after(self._wait)

    async def _wait(self) -> Waited:
        began = trio.current_time()
        await trio.sleep(self.step_s)
        return Waited(trio.current_time() - began)

    async def _tick(self, ref: ActorRef[Any]) -> None:
        await trio.sleep(0.05)
        ref.cast(Done(""))


def boss_tree(boss: type[Boss] = Boss) -> tuple[ChildSpec[Any], SupervisorSpec]:
    workers: DynamicSpec[Work] = DynamicSpec("workers")
    spec: ChildSpec[Any] = ChildSpec("boss", lambda: boss(ref_of(workers)))
    return spec, SupervisorSpec("t", (workers, spec))


async def boss_life() -> Life:
    trace = Trace()
    recorder = Recorder(trace, Renderer())
    spec, root = boss_tree()
    async with running_tree(root, trace=trace) as tree:
        ref: ActorRef[Hire | Done | Break | Wait] = tree.ref(spec)
        worker = (await ref.call(Hire("dig"))).split()[0]
        await trio.sleep(0.1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ref.call, Wait())
            await ref.call(Hire("fill"))
            await ref.call(Done(worker))
        with pytest.raises(ActorCrashed):
            await ref.call(Break())
    rows = recorder.rows(recorder.take(1000))
    ends = next(row.at for row in rows if row.kind == "restart")
    return life_in([row for row in rows if row.at < ends], "t/boss")


async def test_children_ids_timers_own_work_and_crashes_go_as_they_went() -> None:
    life = await boss_life()
    told: Replay = await again(life, boss_tree()[1])
    assert told.difference is None, told.difference
    assert told.stopped is None, told.why
    assert sorted(step.row.message_type for step in told.steps) == [
        "Beside", "Break", "Done", "Done", "Hire", "Hire", "Started", "Wait",
    ]  # fmt: skip
    assert told.steps[-1].now == "crashed: ValueError('as asked')"


class Cheap(Boss):
    """Asks its workers for less."""

    async def handle(self, msg: Hire | Done | Break | Wait) -> Reply | Later:
        if isinstance(msg, Hire) and msg.job == "fill":
            return await super().handle(Hire("fill half"))
        return await super().handle(msg)


class Lazy(Boss):
    """Asks nobody."""

    async def handle(self, msg: Hire | Done | Break | Wait) -> Reply | Later:
        return msg.reply("nobody") if isinstance(msg, Hire) else await super().handle(msg)


class Slow(Boss):
    step_s = 2.0


class Sound(Boss):
    """Does not break."""

    async def handle(self, msg: Hire | Done | Break | Wait) -> Reply | Later:
        return msg.done() if isinstance(msg, Break) else await super().handle(msg)


@pytest.mark.parametrize(
    ("boss", "message", "then", "now"),
    [
        (Cheap, "Hire", '"fill"', '"fill half"'),
        (Lazy, "Hire", "Started to t/workers/worker-", "sends no Started"),
        (Slow, "Wait", "ok: Waited", "crashed"),
        (Sound, "Break", "crashed: ValueError", "ok"),
    ],
)
async def test_other_code_is_told_at_its_message(
    boss: type[Boss], message: str, then: str, now: str
) -> None:
    told: Replay = await again(await boss_life(), boss_tree(boss)[1])
    found = told.difference
    assert found is not None and found.row.message_type == message
    assert then in found.recorded and now in found.now
