"""What recording costs: asks per second of the same tree untraced, traced, and kept in a brain.

    .venv/bin/python -m bench.traces [--rounds 5] [--seconds 2]

Every figure is the median of alternating rounds; only the ratios travel. All three trees have
the same store; Raven writes while the asks go on, in the same process. What it keeps in a second
of the clock does not depend on how fast that goes: beside other work its share seems larger.
"""

import argparse
import gc
import statistics
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import TypeAlias

import trio

from bench.actors import InlineSum, SumMessage, TaskSum, Total
from september.actors import ChildSpec, SupervisorSpec, Trace, ref_of, running_tree
from september.brain.raven.raven import BrainTraces
from september.brain.store.brain_file import BrainFile
from september.brain.store.database import Database
from september.brain.store.store import Store, StoreMessage
from september.http.switching import let_threads_in
from september.traces.keeper import Bounds, KeeperMessage, TraceKeeper
from september.traces.recorder import Recorder
from september.traces.render import Renderer
from september.traces.row import Losses

TRACES: dict[str, Callable[[], Trace | None]] = {
    "untraced": lambda: None,
    "traced": Trace,
    "durable": partial(Trace, keep=0),  # as the Engine has it: the recorder keeps it
}
ASKERS = 4
"""Tasks that ask at the same time, as turns do."""

Result: TypeAlias = tuple[float, float, int, Losses]
"""Asks per second, asks per second of CPU time, rows kept, what was lost."""


async def asks(kind: type[InlineSum], mode: str, seconds: float) -> Result:
    """Ask for so many seconds."""
    trace = TRACES[mode]()
    recorder = Recorder(trace, Renderer()) if trace is not None and mode == "durable" else None
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        brain = BrainFile(Path(folder, "brain.sqlite"))
        store: ChildSpec[StoreMessage] = ChildSpec("store", lambda: Store(brain))
        raven: ChildSpec[KeeperMessage] = ChildSpec(
            "raven",
            lambda: TraceKeeper(recorder, BrainTraces(Database(ref_of(store))), Bounds()),
        )
        child: ChildSpec[SumMessage] = ChildSpec("sum", kind)
        spec = SupervisorSpec("bench", (store, raven, child))
        tree = await stack.enter_async_context(running_tree(spec, trace=trace))
        done = 0

        async def ask() -> None:
            nonlocal done
            ref, until = tree.ref(child), perf_counter() + seconds
            while perf_counter() < until:
                for _ in range(100):
                    await ref.call(Total())
                done += 100

        began, cpu = perf_counter(), process_time()
        async with trio.open_nursery() as nursery:
            for _ in range(ASKERS):
                nursery.start_soon(ask)
        taken, spent = perf_counter() - began, process_time() - cpu
        losses = recorder.losses if recorder is not None else Losses()
        kept = await Database(tree.ref(store)).read(
            lambda db: db.execute("SELECT count(*) FROM trace_rows").fetchone()
        )
        return done / taken, done / spent, int(kept[0]) if kept else 0, losses


def compare(name: str, kind: type[InlineSum], rounds: int, seconds: float) -> None:
    """Measure the three modes in turn, and print them."""
    seen: dict[str, list[Result]] = {mode: [] for mode in TRACES}
    for _ in range(rounds):
        for mode in TRACES:
            gc.collect()
            seen[mode].append(trio.run(partial(asks, kind, mode, seconds)))
    print(f"{name}:")
    for mode in TRACES:
        rate = median(seen[mode], lambda one: one[0])
        cpu = median(seen[mode], lambda one: one[1])
        kept = median(seen[mode], lambda one: one[2])
        lost = median(seen[mode], lambda one: one[3].overload)
        print(
            f"  {mode:9} {rate:9,.0f} ask/s {cpu:9,.0f} ask/CPU-s"
            f"  {kept:,.0f} kept {lost:,.0f} lost"
        )
    for mode in ("traced", "durable"):
        pairs = list(zip(seen[mode], seen["untraced"], strict=True))
        wall = 1 - statistics.median(one[0] / other[0] for one, other in pairs)
        cpu = 1 - statistics.median(one[1] / other[1] for one, other in pairs)
        print(f"  {mode} costs {cpu:.0%} of the untraced asks by CPU time, {wall:.0%} by the clock")


def median(results: list[Result], figure: Callable[[Result], float]) -> float:
    """The median of one figure."""
    return statistics.median(map(figure, results))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    chosen = parser.parse_args()
    let_threads_in()  # as the services do
    compare("inline handler", InlineSum, chosen.rounds, chosen.seconds)
    compare("awaiting handler", TaskSum, chosen.rounds, chosen.seconds)


if __name__ == "__main__":
    main()
