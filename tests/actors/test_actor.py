"""An actor on its own: what a caller sees."""

from september.actors.testing import running

from .slots import Admission, Admit, Release, TaskSlots


async def test_the_longest_waiter_takes_a_released_slot() -> None:
    async with running(TaskSlots(limit=1)) as slots:
        assert await slots.call(Admit("a")) == Admission(ahead=0)
        assert await slots.call(Admit("b")) == Admission(ahead=1)
        slots.cast(Release("a"))
        assert await slots.call(Admit("b")) == Admission(ahead=0)


async def test_a_handler_is_a_plain_function_call() -> None:
    reply = await TaskSlots(1).handle(Admit("a"))
    assert reply.value == Admission(0)
