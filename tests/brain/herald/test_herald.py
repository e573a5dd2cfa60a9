"""The Herald actor: routes, quota, health, the cache alert."""

import trio
from trio.testing import MockClock

from september.actors.testing import running
from september.brain.herald.cache_monitor import CachePolicy
from september.brain.herald.conversation import TokenUsage
from september.brain.herald.herald import (
    ChooseRoute,
    GetHealth,
    Herald,
    HeraldPolicy,
    QuotaUsedUp,
    RecordFailure,
    RecordUsage,
    Route,
)
from september.brain.herald.provider import Fault
from september.brain.herald.route import Models, Target

MAIN = Target("anthropic", "big")
MODELS = Models(MAIN, light=Target("anthropic", "small"))


async def test_a_route_is_chosen_by_role() -> None:
    async with running(Herald(HeraldPolicy(MODELS))) as herald:
        assert await herald.call(ChooseRoute("light")) == Route((Target("anthropic", "small"),))
        assert await herald.call(ChooseRoute("main")) == Route((MAIN,))


async def test_a_used_up_quota_refuses_until_the_window_has_moved_on(
    autojump_clock: MockClock,
) -> None:
    policy = HeraldPolicy(MODELS, quota_tokens=100, quota_window_s=60)
    async with running(Herald(policy)) as herald:
        await herald.call(RecordUsage(MAIN, TokenUsage(input_tokens=80, output_tokens=30)))
        await trio.sleep(20)
        assert await herald.call(ChooseRoute("main")) == QuotaUsedUp(110, 100, 40.0)
        await trio.sleep(40)
        assert isinstance(await herald.call(ChooseRoute("main")), Route)


async def test_health_is_ok_before_the_first_call_and_follows_the_last_one() -> None:
    async with running(Herald(HeraldPolicy(MODELS))) as herald:
        assert (await herald.call(GetHealth())).ok
        herald.cast(RecordFailure(MAIN, Fault.AUTH))
        health = await herald.call(GetHealth())
        assert (health.ok, health.fault, health.target) == (False, Fault.AUTH, MAIN)
        await herald.call(RecordUsage(MAIN, TokenUsage()))
        assert (await herald.call(GetHealth())).ok


async def test_a_bad_request_does_not_make_the_provider_look_ill() -> None:
    async with running(Herald(HeraldPolicy(MODELS))) as herald:
        herald.cast(RecordFailure(MAIN, Fault.CONTEXT_OVERFLOW))
        herald.cast(RecordFailure(MAIN, Fault.REJECTED))
        assert (await herald.call(GetHealth())).ok


async def test_the_cache_alert_is_the_answer_to_the_call_that_raised_it() -> None:
    policy = HeraldPolicy(MODELS, cache=CachePolicy(calls=2))
    cold = RecordUsage(MAIN, TokenUsage(input_tokens=5000))
    async with running(Herald(policy)) as herald:
        assert await herald.call(cold) is None
        alert = await herald.call(cold)
        assert alert is not None
        assert alert.ratio == 0.0


async def test_the_scripted_provider_has_no_cache_to_complain_about() -> None:
    policy = HeraldPolicy(MODELS, cache=CachePolicy(calls=1))
    scripted = RecordUsage(Target("scripted", "big"), TokenUsage(input_tokens=5000))
    async with running(Herald(policy)) as herald:
        assert await herald.call(scripted) is None
