"""How long a write to the brain takes beside tasks that do nothing but ask, by switch interval.

    .venv/bin/python -m bench.switching [--rounds 3] [--seconds 4]

CPython's default against what the services set; see september/http/switching.py.
"""

import argparse
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path
from time import perf_counter

import trio

from bench.actors import InlineSum, SumMessage, TaskSum, Total
from september.actors import ChildSpec, SupervisorSpec, running_tree
from september.brain.store.brain_file import BrainFile
from september.brain.store.connection import Connection
from september.brain.store.database import Database
from september.brain.store.store import Store, StoreMessage
from september.http.switching import SWITCH_S

DEFAULT_S = 0.005
ASKERS = 4
PAUSE_S = 0.02


def note(connection: Connection) -> None:
    """A small write."""
    connection.execute("INSERT OR REPLACE INTO brain_meta (key, value) VALUES ('bench', '1')")


async def writes(kind: type[InlineSum], seconds: float) -> tuple[float, list[float]]:
    """Asks per second, and the seconds that each write took."""
    asked, taken = 0, list[float]()
    with tempfile.TemporaryDirectory() as folder:
        brain = BrainFile(Path(folder, "brain.sqlite"))
        store: ChildSpec[StoreMessage] = ChildSpec("store", lambda: Store(brain))
        child: ChildSpec[SumMessage] = ChildSpec("sum", kind)
        async with running_tree(SupervisorSpec("bench", (store, child))) as tree:

            async def ask() -> None:
                nonlocal asked
                while True:
                    await tree.ref(child).call(Total())
                    asked += 1

            async with trio.open_nursery() as nursery:
                for _ in range(ASKERS):
                    nursery.start_soon(ask)
                first = perf_counter()
                while perf_counter() < first + seconds:
                    began = perf_counter()
                    await Database(tree.ref(store)).write(note)
                    taken.append(perf_counter() - began)
                    await trio.sleep(PAUSE_S)
                nursery.cancel_scope.cancel()
    return asked / (perf_counter() - first), taken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    chosen = parser.parse_args()
    for kind in (InlineSum, TaskSum):
        for interval in (DEFAULT_S, SWITCH_S) * chosen.rounds:
            sys.setswitchinterval(interval)
            rate, taken = trio.run(partial(writes, kind, chosen.seconds))
            print(
                f"{kind.__name__}, {interval * 1e6:,.0f} µs: {rate:9,.0f} ask/s beside"
                f" {len(taken)} writes, p50 {statistics.median(taken) * 1e3:,.1f} ms,"
                f" longest {max(taken) * 1e3:,.0f} ms"
            )


if __name__ == "__main__":
    main()
