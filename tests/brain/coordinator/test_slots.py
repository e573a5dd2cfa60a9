"""Task slots: a bounded number of turns, first come first served."""

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from september.actors.testing import running
from september.brain.coordinator.slots import (
    Admission,
    Admit,
    AwaitSlot,
    CountSlots,
    Full,
    Occupancy,
    Release,
    TaskSlots,
)


async def test_the_longest_waiter_takes_a_released_slot() -> None:
    async with running(TaskSlots(limit=1, line=5)) as slots:
        assert await slots.call(Admit("a")) == Admission(ahead=0)
        assert await slots.call(Admit("b")) == Admission(ahead=1)
        slots.cast(Release("a"))
        assert await slots.call(Admit("b")) == Admission(ahead=0)


async def test_asking_twice_is_asking_once() -> None:
    async with running(TaskSlots(limit=1, line=1)) as slots:
        for _ in range(3):
            assert await slots.call(Admit("a")) == Admission(ahead=0)
        assert await slots.call(CountSlots()) == Occupancy(running=1, waiting=0)


async def test_a_full_line_refuses_but_never_one_that_was_accepted_before() -> None:
    async with running(TaskSlots(limit=1, line=1)) as slots:
        await slots.call(Admit("a"))
        await slots.call(Admit("b"))
        assert await slots.call(Admit("c")) == Full(waiting=1)
        assert await slots.call(Admit("c", always=True)) == Admission(ahead=2)


async def test_waiting_for_a_slot_ends_when_it_is_free_and_not_before() -> None:
    async with running(TaskSlots(limit=1, line=5)) as slots:
        order: list[str] = []

        async def run(turn: str) -> None:
            await slots.call(AwaitSlot(turn))
            order.append(turn)
            slots.cast(Release(turn))

        await slots.call(Admit("first"))
        async with trio.open_nursery() as nursery:
            for turn in ("a", "b", "c"):
                await slots.call(Admit(turn))
                nursery.start_soon(run, turn)
            await trio.testing.wait_all_tasks_blocked()
            assert order == []
            slots.cast(Release("first"))
        assert order == ["a", "b", "c"]


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans()), max_size=40),
)
async def test_never_more_turns_run_than_there_are_slots(
    limit: int, steps: list[tuple[str, bool]]
) -> None:
    slots = TaskSlots(limit, line=3)
    line: list[str] = []
    for turn, enter in steps:
        if enter:
            answer = (await slots.handle(Admit(turn))).value  # type: ignore[union-attr]
            if turn not in line and len(line) < limit + 3:
                line.append(turn)
            if turn in line:
                assert answer == Admission(ahead=max(0, line.index(turn) + 1 - limit))
            else:
                assert answer == Full(waiting=3)
        else:
            await slots.handle(Release(turn))
            line = [other for other in line if other != turn]
