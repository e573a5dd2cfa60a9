"""Inline calls: a handler proven never to suspend runs in its caller's task."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TypeAlias

import pytest
import trio
import trio.testing

from september.actors import (
    Actor,
    ActorCrashed,
    Backoff,
    CallTimeout,
    ChildSpec,
    Kind,
    Later,
    Message,
    Reply,
    SupervisorSpec,
    Trace,
    current_span,
    running_tree,
    span_scope,
)
from september.actors.actor import never_suspends
from september.actors.testing import running

from .probe import Boom, Probe
from .slots import TaskSlots


@dataclass(frozen=True, slots=True)
class WhichTask(Message[trio.lowlevel.Task]):
    """Ask in which task the handler runs."""


@dataclass(frozen=True, slots=True)
class Push(Message[None]):
    """Append to the list; then cast the rest of it to oneself."""

    items: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Items(Message[tuple[int, ...]]):
    """Ask for the list."""


@dataclass(frozen=True, slots=True)
class Fail(Message[None]):
    """Crash."""


@dataclass(frozen=True, slots=True)
class Span(Message[str]):
    """Ask for the parent of the handler's span."""


@dataclass(frozen=True, slots=True)
class Wait(Message[str]):
    """Ask for an answer that takes a second."""


ListMessage: TypeAlias = WhichTask | Push | Items | Fail | Span | Wait


class Listing(Actor[ListMessage]):
    """Keeps a list; its handler never suspends."""

    def __init__(self) -> None:
        self.items: list[int] = []

    async def handle(self, msg: ListMessage) -> Reply | Later:
        match msg:
            case WhichTask():
                return msg.reply(trio.lowlevel.current_task())
            case Push(items):
                self.items.append(items[0])
                if items[1:]:
                    self.ref.cast(Push(items[1:]))
                return msg.done()
            case Items():
                return msg.reply(tuple(self.items))
            case Span():
                span = current_span()
                assert span is not None
                return msg.reply(f"{span.parent_id:016x}")
            case Wait():
                return msg.reply_after(_a_second)
            case Fail():
                raise Boom


async def _a_second() -> str:
    await trio.sleep(1)
    return "waited"


async def _plain() -> int:
    numbers = [number for number in range(3)]
    return sum(numbers)


async def _awaits() -> None:
    await trio.lowlevel.checkpoint()


async def _iterates(source: trio.MemoryReceiveChannel[int]) -> None:
    async for _ in source:
        pass


async def _enters() -> None:
    async with trio.open_nursery():
        pass


async def _comprehends(source: trio.MemoryReceiveChannel[int]) -> list[int]:
    return [number async for number in source]


async def _only_defines_what_suspends() -> object:
    return _awaits


async def _generates() -> AsyncGenerator[int]:
    yield 1


def _not_async() -> None: ...


@pytest.mark.parametrize("function", [_plain, _only_defines_what_suspends])
def test_a_handler_without_any_suspension_point_is_proven(function: object) -> None:
    assert never_suspends(function)


@pytest.mark.parametrize(
    "function", [_awaits, _iterates, _enters, _comprehends, _generates, _not_async, print]
)
def test_a_handler_that_may_suspend_is_not_proven(function: object) -> None:
    assert not never_suspends(function)


def test_the_proof_is_made_for_each_class() -> None:
    assert TaskSlots.inline
    assert Listing.inline
    assert not Probe.inline


async def test_a_call_to_an_idle_proven_actor_runs_in_the_callers_task() -> None:
    async with running(Listing()) as ref:
        await trio.testing.wait_all_tasks_blocked()
        assert await ref.call(WhichTask()) is trio.lowlevel.current_task()


async def test_a_call_behind_a_queued_message_keeps_its_place() -> None:
    async with running(Listing()) as ref:
        await trio.testing.wait_all_tasks_blocked()
        ref.cast(Push((1,)))
        assert await ref.call(WhichTask()) is not trio.lowlevel.current_task()
        ref.cast(Push((2,)))
        assert await ref.call(Items()) == (1, 2)


async def test_a_cast_to_itself_from_an_inline_handler_is_handled_after_it() -> None:
    async with running(Listing()) as ref:
        await trio.testing.wait_all_tasks_blocked()
        await ref.call(Push((1, 2, 3)))
        await trio.testing.wait_all_tasks_blocked()
        assert await ref.call(Items()) == (1, 2, 3)


async def test_an_inline_crash_is_the_actors_crash_not_the_callers(
    autojump_clock: trio.testing.MockClock,
) -> None:
    child, trace = ChildSpec("a", Listing), Trace()
    spec = SupervisorSpec("root", (child,), backoff=Backoff(first=1, jitter=0))
    async with running_tree(spec, trace=trace) as tree:
        ref = tree.ref(child)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ActorCrashed, match="root/a crashed: Boom"):
            await ref.call(Fail())
        assert await ref.call(Items()) == ()
        assert ref.cell.incarnation == 2
        assert trio.current_time() == pytest.approx(1)
    assert trace.counts[Kind.CRASH] == 1
    outcomes = [r.outcome for r in trace.recent() if r.message_type == "Fail"]
    assert outcomes == ["crashed"]


async def test_an_inline_handler_can_answer_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running(Listing()) as ref:
        await trio.testing.wait_all_tasks_blocked()
        assert await ref.call(Wait()) == "waited"
        with pytest.raises(CallTimeout):
            await ref.call(Wait(), timeout=0.5)


async def test_an_inline_call_whose_deadline_has_passed_is_not_made() -> None:
    async with running(Listing()) as ref:
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(CallTimeout):
            await ref.call(Push((1,)), timeout=0)
        assert await ref.call(Items()) == ()


async def test_an_inline_call_in_a_cancelled_scope_is_not_made() -> None:
    async with running(Listing()) as ref:
        await trio.testing.wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await ref.call(Push((1,)))
        assert scope.cancelled_caught
        assert await ref.call(Items()) == ()


async def test_a_caller_of_inline_handlers_does_not_starve_other_tasks() -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with running(Listing()) as ref, trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        for _ in range(1000):
            await ref.call(Items())
        nursery.cancel_scope.cancel()
    assert turns >= 20


async def test_the_span_is_right_in_both_paths() -> None:
    async with running(Listing()) as ref:
        await trio.testing.wait_all_tasks_blocked()
        with span_scope() as scope:
            inline = await ref.call(Span())
            ref.cast(Push((1,)))
            queued = await ref.call(Span())
            assert inline == queued == f"{scope.span_id:016x}"
            assert current_span() is scope
