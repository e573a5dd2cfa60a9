"""Deterministic runs: the same seed gives the same trace. Guards trio's private switch."""

from importlib import import_module

import pytest
import trio
from msgspec.structs import astuple

from september.actors import (
    ActorError,
    DynamicSpec,
    Restart,
    Strategy,
    SupervisorSpec,
    Trace,
    running_tree,
)
from september.actors.testing import run_seeded

from .probe import Do, Note, Probe, ProbeMessage, crash, probe, sleeping


async def scenario() -> list[str]:
    """Let a small tree be busy, crash and recover; return everything that was observed."""
    a, b, c = probe("a"), probe("b"), probe("c")
    many = DynamicSpec[ProbeMessage]("many", restart=Restart.TRANSIENT)
    group = SupervisorSpec("group", (b, c), strategy=Strategy.ONE_FOR_ALL)
    trace = Trace(clock=trio.current_time)
    async with running_tree(SupervisorSpec("root", (a, group, many)), trace=trace) as tree:
        refs = [tree.ref(a), tree.ref(b), tree.ref(c), await tree.ref(many).start("d", Probe)]

        async def client(number: int) -> None:
            for step in range(4):
                ref = refs[(number + step) % 4]
                works: list[Do[None] | Note]
                works = [Do(sleeping(0.01)), Note(str(number)), Do(crash), Note("x")]
                try:
                    await ref.call(works[(number * step) % 4], timeout=5)
                except ActorError:
                    continue

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(client, number)
    return [repr(astuple(record)[:8]) for record in trace.recent()]


def test_the_same_seed_gives_the_same_trace_twenty_times_out_of_twenty() -> None:
    first = run_seeded(7, scenario)
    assert len(first) > 40
    assert all(run_seeded(7, scenario) == first for _ in range(19))


def test_different_seeds_give_different_interleavings() -> None:
    traces = {"\n".join(run_seeded(seed, scenario)) for seed in range(10)}
    assert len(traces) == 10


def test_a_seeded_run_leaves_the_scheduler_as_it_was() -> None:
    scheduler = vars(import_module("trio._core._run"))  # the private names it depends on
    switch, state = scheduler["_ALLOW_DETERMINISTIC_SCHEDULING"], scheduler["_r"].getstate()
    run_seeded(1, scenario)
    assert scheduler["_ALLOW_DETERMINISTIC_SCHEDULING"] is switch
    assert scheduler["_r"].getstate() == state


def test_a_seeded_run_takes_no_real_time_to_sleep() -> None:
    async def sleep_for_a_day() -> float:
        await trio.sleep(86_400)
        return trio.current_time()

    assert run_seeded(1, sleep_for_a_day) == pytest.approx(86_400)
