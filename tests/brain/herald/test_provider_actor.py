"""The provider's gatekeeper: permits, pauses, the breaker, and nothing leaked."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from september.actors import ActorRef
from september.actors.testing import running
from september.brain.herald.breaker import BreakerPolicy, BreakerState
from september.brain.herald.herald import Herald
from september.brain.herald.provider import Fault
from september.brain.herald.provider_actor import (
    Abandoned,
    Acquire,
    Failed,
    Finish,
    Inspect,
    Permit,
    ProviderActor,
    ProviderLimits,
    ProviderMessage,
    Refusal,
    Succeeded,
)

from .stage import provider

Door = ActorRef[ProviderMessage]


@asynccontextmanager
async def door(limits: ProviderLimits | None = None) -> AsyncGenerator[Door]:
    """The actor, with a client that answers at once."""
    play = provider({"steps": [{"text": "hi"}]})
    async with running(ProviderActor("test", lambda: play, limits)) as ref:
        yield ref


async def acquired(ref: Door, ticket: str) -> Permit | Refusal:
    return await ref.call(Acquire(ticket))


async def test_a_permit_brings_the_client() -> None:
    async with door() as ref:
        permit = await acquired(ref, "a")
        assert isinstance(permit, Permit)
        assert permit.provider.name == "scripted"
        assert (await ref.call(Inspect())).in_flight == 1
        ref.cast(Finish("a", Succeeded()))
        assert (await ref.call(Inspect())).in_flight == 0


async def test_calls_beyond_the_limit_wait_in_the_order_they_came() -> None:
    got: list[str] = []

    async with door(ProviderLimits(concurrency=1)) as ref, trio.open_nursery() as nursery:

        async def one(ticket: str) -> None:
            await acquired(ref, ticket)
            got.append(ticket)

        for ticket in "abc":
            nursery.start_soon(one, ticket)
            await wait_all_tasks_blocked()
        assert (await ref.call(Inspect())).waiting == 2
        for ticket in "abc":
            ref.cast(Finish(ticket, Succeeded()))
            await wait_all_tasks_blocked()
        assert got == ["a", "b", "c"]


async def test_a_caller_that_is_cancelled_in_the_line_leaves_no_place_behind() -> None:
    async with door(ProviderLimits(concurrency=1)) as ref:
        await acquired(ref, "a")
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(acquired, ref, "b")
                await wait_all_tasks_blocked()
                scope.cancel()
        ref.cast(Finish("b", Abandoned()))
        ref.cast(Finish("a", Succeeded()))
        status = await ref.call(Inspect())
        assert (status.in_flight, status.waiting) == (0, 0)


async def test_a_permit_granted_to_a_caller_that_just_left_comes_back() -> None:
    async with door(ProviderLimits(concurrency=1)) as ref:
        await acquired(ref, "a")
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(acquired, ref, "b")
                await wait_all_tasks_blocked()
                ref.cast(Finish("a", Succeeded()))
                scope.cancel()
        ref.cast(Finish("b", Abandoned()))
        assert isinstance(await acquired(ref, "c"), Permit)


async def test_a_rate_limit_pauses_every_caller_for_as_long_as_asked(
    autojump_clock: MockClock,
) -> None:
    async with door() as ref:
        await acquired(ref, "a")
        ref.cast(Finish("a", Failed(Fault.RATE_LIMITED, 12.0)))
        assert await acquired(ref, "b") == Refusal(Fault.RATE_LIMITED, 12.0)
        await trio.sleep(5)
        assert await acquired(ref, "c") == Refusal(Fault.RATE_LIMITED, 7.0)
        await trio.sleep(7)
        assert isinstance(await acquired(ref, "d"), Permit)


async def test_those_in_the_line_hear_of_the_pause_too() -> None:
    async with door(ProviderLimits(concurrency=1)) as ref, trio.open_nursery() as nursery:
        await acquired(ref, "a")
        answers: list[Permit | Refusal] = []

        async def wait() -> None:
            answers.append(await acquired(ref, "b"))

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        ref.cast(Finish("a", Failed(Fault.RATE_LIMITED, 3.0)))
        await wait_all_tasks_blocked()
        assert isinstance(answers[0], Refusal)
        assert answers[0].fault is Fault.RATE_LIMITED


async def test_an_hour_of_retry_after_does_not_lock_everybody_out_for_an_hour(
    autojump_clock: MockClock,
) -> None:
    async with door(ProviderLimits(longest_pause_s=60)) as ref:
        await acquired(ref, "a")
        ref.cast(Finish("a", Failed(Fault.RATE_LIMITED, 3600.0)))
        assert await acquired(ref, "b") == Refusal(Fault.RATE_LIMITED, 60.0)


async def test_failures_open_the_breaker_and_one_probe_closes_it(
    autojump_clock: MockClock,
) -> None:
    limits = ProviderLimits(breaker=BreakerPolicy(threshold=2, cool_s=10))
    async with door(limits) as ref:
        for ticket in "ab":
            await acquired(ref, ticket)
            ref.cast(Finish(ticket, Failed(Fault.UNAVAILABLE)))
        assert await acquired(ref, "c") == Refusal(Fault.UNAVAILABLE, 10.0)
        await trio.sleep(10)
        assert isinstance(await acquired(ref, "probe"), Permit)
        assert isinstance(await acquired(ref, "d"), Refusal)
        ref.cast(Finish("probe", Succeeded()))
        assert (await ref.call(Inspect())).breaker is BreakerState.CLOSED


async def test_a_provider_that_says_no_is_alive_and_does_not_open_the_breaker() -> None:
    limits = ProviderLimits(breaker=BreakerPolicy(threshold=1))
    async with door(limits) as ref:
        for fault in (Fault.REJECTED, Fault.AUTH, Fault.CONTEXT_OVERFLOW, Fault.RATE_LIMITED):
            await ref.call(Acquire(fault.value))
            ref.cast(Finish(fault.value, Failed(fault, 0.0)))
        assert (await ref.call(Inspect())).breaker is BreakerState.CLOSED


async def test_the_outcome_of_a_call_from_an_earlier_life_says_nothing() -> None:
    async with door(ProviderLimits(breaker=BreakerPolicy(threshold=1))) as ref:
        ref.cast(Finish("long ago", Failed(Fault.UNAVAILABLE)))
        assert (await ref.call(Inspect())).breaker is BreakerState.CLOSED


async def test_a_permit_costs_no_task_switch() -> None:
    assert ProviderActor.inline, "handle must never suspend: it then runs in the caller's task"
    assert Herald.inline
