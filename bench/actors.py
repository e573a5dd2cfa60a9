"""Speed and weight of the actor runtime beside a bare trio channel and Pykka, in one run.

    .venv/bin/python -m bench.actors [--rounds 9] [--idle 100000] [--cpu]

Every figure is the median of alternating rounds on this machine; only the ratios travel. With
--cpu, rates and spawn are per second of this process's CPU time (all threads), which says more
than the wall clock on a machine that others use, too.
"""

import argparse
import gc
import statistics
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter, process_time
from typing import TypeAlias

import pykka
import trio
import trio.testing
from rich.console import Console
from rich.table import Table

from september.actors import (
    Actor,
    ActorRef,
    ChildSpec,
    DynamicSpec,
    Message,
    Reply,
    SupervisorSpec,
    Trace,
    running_tree,
)

TELLS = 20_000
ASKS = 5_000
SPAWNS = 2_000
WEIGHED = 10_000


clock: Callable[[], float] = perf_counter
"""What rates are measured with; latencies are always wall-clock."""


@dataclass(frozen=True, slots=True)
class Add(Message[None]):
    """Add to the sum."""

    amount: int


@dataclass(frozen=True, slots=True)
class Total(Message[int]):
    """Ask for the sum."""


SumMessage: TypeAlias = Add | Total


class InlineSum(Actor[SumMessage]):
    """An actor whose handler never suspends, like most."""

    def __init__(self) -> None:
        self._sum = 0

    async def handle(self, msg: SumMessage) -> Reply:
        match msg:
            case Add(amount):
                self._sum += amount
                return msg.done()
            case Total():
                return msg.reply(self._sum)


async def _nothing() -> None:
    """Await without suspending."""


class TaskSum(InlineSum):
    """The same with a handler that may suspend, so it runs in the actor's own task."""

    async def handle(self, msg: SumMessage) -> Reply:
        match msg:
            case Add(amount):
                self._sum += amount
                await _nothing()
                return msg.done()
            case Total():
                return msg.reply(self._sum)


class PykkaSum(pykka.ThreadingActor):
    """The same in Pykka."""

    def __init__(self) -> None:
        super().__init__()
        self._sum = 0

    def on_receive(self, message: object) -> int | None:
        match message:
            case Add(amount):
                self._sum += amount
                return None
            case _:
                return self._sum


@dataclass(frozen=True, slots=True)
class Figures:
    """Tells and asks per second; ask latencies in µs; µs from spawning to serving, one by one."""

    tell: float
    ask: float
    p50: float
    p99: float
    spawn: float


@dataclass(frozen=True, slots=True)
class Asks:
    """The seconds each ask took, and all of them together by `clock`."""

    taken: list[float]
    together: float

    def figures(self) -> tuple[float, float, float]:
        """Return asks per second, and p50 and p99 in µs."""
        taken = sorted(self.taken)
        at = [taken[len(taken) // 2], taken[len(taken) * 99 // 100]]
        return len(taken) / self.together, at[0] * 1e6, at[1] * 1e6


async def bare_trio() -> Figures:
    """Measure a task that reads a memory channel, answering through an Event."""
    tell = await _bare_tell()
    ask, p50, p99 = (await _bare_asks()).figures()
    return Figures(tell, ask, p50, p99, await _bare_spawn())


async def _bare_reader(inbox: trio.MemoryReceiveChannel[tuple[int, trio.Event | None]]) -> None:
    total = 0
    with inbox:
        async for amount, asked in inbox:
            total += amount
            if asked is not None:
                asked.set()


async def _bare_tell() -> float:
    outbox, inbox = trio.open_memory_channel[tuple[int, trio.Event | None]](256)
    began = clock()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_bare_reader, inbox)
        with outbox:
            for _ in range(TELLS):
                await outbox.send((1, None))
    return TELLS / (clock() - began)


async def _bare_asks() -> Asks:
    outbox, inbox = trio.open_memory_channel[tuple[int, trio.Event | None]](256)
    taken: list[float] = []
    first = clock()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_bare_reader, inbox)
        with outbox:
            for _ in range(ASKS):
                began = perf_counter()
                answered = trio.Event()
                await outbox.send((1, answered))
                await answered.wait()
                taken.append(perf_counter() - began)
    return Asks(taken, clock() - first)


async def _bare_child(task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    await trio.sleep_forever()


async def _bare_spawn() -> float:
    async with trio.open_nursery() as nursery:
        began = clock()
        for _ in range(SPAWNS):
            await nursery.start(_bare_child)
        taken = clock() - began
        nursery.cancel_scope.cancel()
    return taken / SPAWNS * 1e6


async def with_pykka() -> Figures:
    """Measure Pykka, whose actors are threads."""
    ref = PykkaSum.start()
    began = clock()
    for _ in range(TELLS):
        ref.tell(Add(1))
    ref.ask(Total())
    tell = TELLS / (clock() - began)
    asks = _pykka_asks(ref)
    ref.stop()
    began = clock()
    refs = [PykkaSum.start() for _ in range(SPAWNS // 4)]
    spawn = (clock() - began) / len(refs) * 1e6
    pykka.ActorRegistry.stop_all()
    return Figures(tell, *asks.figures(), spawn)


def _pykka_asks(ref: pykka.ActorRef[PykkaSum]) -> Asks:
    taken: list[float] = []
    first = clock()
    for _ in range(ASKS):
        began = perf_counter()
        ref.ask(Total())
        taken.append(perf_counter() - began)
    return Asks(taken, clock() - first)


async def with_actors(kind: type[InlineSum], traced: bool) -> Figures:
    """Measure this runtime."""
    child = ChildSpec("sum", kind, mailbox=256)
    dynamic = DynamicSpec[SumMessage]("many")
    trace = Trace() if traced else None
    async with running_tree(SupervisorSpec("bench", (child, dynamic)), trace=trace) as tree:
        ref = tree.ref(child)
        tell = await _tell(ref)
        ask, p50, p99 = (await _asks(ref)).figures()
        many = tree.ref(dynamic)
        began = clock()
        for number in range(SPAWNS):
            await many.start(str(number), kind)
        spawn = (clock() - began) / SPAWNS * 1e6
    return Figures(tell, ask, p50, p99, spawn)


async def _tell(ref: ActorRef[SumMessage]) -> float:
    began = clock()
    for _ in range(TELLS // 128):
        for _ in range(127):
            ref.cast(Add(1))
        await ref.send(Add(1))
        await trio.lowlevel.checkpoint()
    await ref.call(Total())
    return TELLS / (clock() - began)


async def _asks(ref: ActorRef[SumMessage]) -> Asks:
    taken: list[float] = []
    first = clock()
    for _ in range(ASKS):
        began = perf_counter()
        await ref.call(Total())
        taken.append(perf_counter() - began)
    return Asks(taken, clock() - first)


SYSTEMS: dict[str, Callable[[], Awaitable[Figures]]] = {
    "bare trio channel + Event": bare_trio,
    "Pykka": with_pykka,
    "actors, untraced": partial(with_actors, InlineSum, False),
    "actors, traced": partial(with_actors, InlineSum, True),
    "actors with awaiting handler, untraced": partial(with_actors, TaskSum, False),
    "actors with awaiting handler, traced": partial(with_actors, TaskSum, True),
}


Rounds: TypeAlias = dict[str, list[Figures]]


def measure(rounds: int) -> Rounds:
    """Run all systems in turn, `rounds` times."""
    seen: Rounds = {name: [] for name in SYSTEMS}
    for _ in range(rounds):
        for name, system in SYSTEMS.items():
            gc.collect()
            seen[name].append(trio.run(system))
    return seen


def median(figures: list[Figures]) -> Figures:
    """Take the median of each figure on its own."""
    return Figures(
        *(
            statistics.median(getattr(one, name) for one in figures)
            for name in Figures.__dataclass_fields__
        )
    )


def resident() -> int:
    """Return the resident memory of this process, in bytes."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096


async def idle_actors(count: int, traced: bool) -> tuple[float, float]:
    """Start `count` actors; return bytes per actor and seconds to start them all."""
    dynamic = DynamicSpec[SumMessage]("many")
    trace = Trace(keep=1024) if traced else None
    async with running_tree(SupervisorSpec("bench", (dynamic,)), trace=trace) as tree:
        many = tree.ref(dynamic)
        gc.collect()
        before, began = resident(), perf_counter()
        for number in range(count):
            await many.start(str(number), InlineSum)
        taken = perf_counter() - began
        gc.collect()
        return (resident() - before) / count, taken


async def idle_tasks(count: int) -> tuple[float, float]:
    """Start `count` bare trio tasks; return bytes per task and seconds to start them all."""
    async with trio.open_nursery() as nursery:
        gc.collect()
        before, began = resident(), perf_counter()
        for _ in range(count):
            nursery.start_soon(trio.sleep_forever)
        await trio.testing.wait_all_tasks_blocked()
        taken = perf_counter() - began
        gc.collect()
        weight = (resident() - before) / count
        nursery.cancel_scope.cancel()
    return weight, taken


def weigh(what: str, count: int) -> tuple[float, float]:
    """Measure memory in a fresh process, so that nothing is reused."""
    command = [sys.executable, __file__, "--weigh", what, "--idle", str(count)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    weight, taken = printed.split()
    return float(weight), float(taken)


def show(console: Console, rounds: Rounds) -> None:
    """Print the medians, with each row's ratio to Pykka."""
    table = Table(title="medians; ratios to Pykka in brackets")
    for heading in ("", "tell/s", "ask/s", "ask p50 µs", "ask p99 µs", "spawn µs"):
        table.add_column(heading, justify="right" if heading else "left")
    results = {name: median(figures) for name, figures in rounds.items()}
    other = results["Pykka"]
    for name, one in results.items():
        table.add_row(
            name,
            f"{one.tell:,.0f} ({one.tell / other.tell:.2f})",
            f"{one.ask:,.0f} ({one.ask / other.ask:.2f})",
            f"{one.p50:.1f}",
            f"{one.p99:.1f}",
            f"{one.spawn:.1f}",
        )
    console.print(table)


def ratio(these: list[Figures], those: list[Figures], figure: str) -> float:
    """Return the median over the rounds of this figure's ratio within a round."""
    pairs = zip(these, those, strict=True)
    ratios: list[float] = [getattr(a, figure) / getattr(b, figure) for a, b in pairs]
    return statistics.median(ratios)


def show_ratios(console: Console, rounds: Rounds) -> None:
    """Print what tracing and the actor layer cost, compared within each round."""
    for kind in ("actors", "actors with awaiting handler"):
        off, on = rounds[f"{kind}, untraced"], rounds[f"{kind}, traced"]
        spawn = ratio(on, rounds["bare trio channel + Event"], "spawn")
        console.print(
            f"{kind}: tracing adds {ratio(off, on, 'tell') - 1:.0%} to a tell and "
            f"{ratio(off, on, 'ask') - 1:.0%} to an ask; spawn is {spawn:.1f} x a bare task"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--idle", type=int, default=100_000)
    parser.add_argument("--cpu", action="store_true", help="measure rates by CPU time")
    parser.add_argument("--weigh", choices=("actors", "traced", "tasks"))
    chosen = parser.parse_args()
    if chosen.weigh == "tasks":
        print(*trio.run(idle_tasks, chosen.idle))
        return
    if chosen.weigh:
        print(*trio.run(idle_actors, chosen.idle, chosen.weigh == "traced"))
        return
    if chosen.cpu:
        global clock
        clock = process_time
    console = Console(width=120)
    rounds = measure(chosen.rounds)
    show(console, rounds)
    show_ratios(console, rounds)
    for what, count in (("tasks", WEIGHED), ("actors", WEIGHED), ("traced", chosen.idle)):
        weight, taken = weigh(what, count)
        console.print(
            f"{count:,} idle {what}: {weight:,.0f} bytes each, "
            f"{weight * count / 2**20:,.0f} MiB in all, started in {taken:.1f} s"
        )


if __name__ == "__main__":
    main()
