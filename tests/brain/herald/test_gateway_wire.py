"""The gateway over the real adapters and servers that speak the providers' protocols."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from september.brain.herald.conversation import TextPiece
from september.brain.herald.gateway import CallPolicy, Gateway
from september.brain.herald.provider import Fault
from september.brain.herald.retry import RetryPolicy
from september.errors import SeptemberError
from tests.peers import ContextOverflow, Overloaded, RateLimit, Say, Stall, Status, script
from tests.peers.adapters import PROVIDERS, adapter

from .stage import Stage, call, provider

each = pytest.mark.parametrize("name", PROVIDERS)
QUICK = CallPolicy(retry=RetryPolicy(attempts=3, base_s=0.01))


async def read_until_text(gateway: Gateway, shown: trio.Event) -> None:
    async with gateway.stream(call()) as pieces:
        async for piece in pieces:
            if isinstance(piece, TextPiece):
                shown.set()


@each
async def test_a_rate_limit_is_waited_out_and_the_answer_comes(name: str) -> None:
    replies = script(RateLimit(0.05), [Say("At last.")])
    async with adapter(name, replies) as (real, peer):
        async with Stage(real, policy=QUICK).running() as gateway:
            done = await gateway.complete(call())
        assert len(peer.requests) == 2
        assert peer.requests[1].at - peer.requests[0].at >= 0.05
    assert [attempt.fault for attempt in done.attempts] == [Fault.RATE_LIMITED]


@each
async def test_cancelling_a_turn_closes_the_providers_socket_at_once(name: str) -> None:
    async with adapter(name, script([Say("Once upon a time"), Stall()])) as (real, peer):
        stage = Stage(real)
        async with stage.running() as gateway:
            async with trio.open_nursery() as nursery:
                shown = trio.Event()
                nursery.start_soon(read_until_text, gateway, shown)
                await shown.wait()
                cancelled_at = trio.current_time()
                nursery.cancel_scope.cancel()
            request = await peer.wait_request()
            with trio.fail_after(1):
                await request.closed.wait()
            assert request.closed_by == "client"
            assert request.closed_at - cancelled_at < 0.5
            assert (await stage.status()).in_flight == 0


@each
async def test_the_fallback_at_another_provider_takes_over(name: str) -> None:
    async with adapter(name, script(Status(401))) as (broken, _):
        stage = Stage(broken, other=provider({"steps": [{"text": "I am here."}]}))
        async with stage.running() as gateway:
            done = await gateway.complete(call())
    assert done.provider == "openai"
    assert done.attempts[0].fault is Fault.AUTH


@each
async def test_a_prompt_that_does_not_fit_is_left_to_compaction(name: str) -> None:
    async with adapter(name, script(ContextOverflow())) as (real, peer):
        async with Stage(real, policy=QUICK).running() as gateway:
            with pytest.raises(SeptemberError) as caught:
                await gateway.complete(call())
        assert len(peer.requests) == 1
    assert caught.value.code == "CONTEXT_OVERFLOW"


@each
async def test_an_overloaded_provider_is_given_up_after_its_tries(name: str) -> None:
    async with adapter(name, script(*[Overloaded()] * 9)) as (real, peer):
        async with Stage(real, policy=QUICK).running() as gateway:
            with pytest.raises(SeptemberError, match="overloaded"):
                await gateway.complete(call())
        assert len(peer.requests) == 3


async def test_turns_share_the_pause_that_one_of_them_met() -> None:
    replies = script(RateLimit(0.2), [Say("a")], [Say("b")])
    async with adapter("openai", replies) as (real, peer):
        stage = Stage(real, policy=QUICK)
        async with stage.running() as gateway, trio.open_nursery() as nursery:
            nursery.start_soon(gateway.complete, call("one"))
            await (await peer.wait_request()).closed.wait()
            await wait_all_tasks_blocked(0.02)
            assert (await stage.status()).paused_s > 0
            nursery.start_soon(stage.gateway().complete, call("two"))
        first, *later = peer.requests
        assert len(later) == 2, "the second turn was not sent into the rate limit"
        assert all(request.at - first.at >= 0.2 for request in later)
