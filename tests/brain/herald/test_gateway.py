"""The gateway: retries, fallback, deadlines, quota, and cancellation in every phase."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from september.actors import ChildSpec
from september.brain.herald.breaker import BreakerPolicy, BreakerState
from september.brain.herald.budget import TurnBudget
from september.brain.herald.conversation import (
    BlockStarted,
    BlockStopped,
    TextPiece,
    TokenUsage,
)
from september.brain.herald.gateway import CallPolicy, Completed, ModelCall, ModelPiece
from september.brain.herald.herald import GetHealth
from september.brain.herald.provider import Fault, Provider
from september.brain.herald.provider_actor import ProviderActor, ProviderLimits
from september.brain.herald.retry import RetryPolicy
from september.errors import SeptemberError

from .stage import OTHER, Stage, call, provider, read

ONCE = {"times": 1}
OVERLOADED = {"steps": [{"fault": "overloaded"}]}
HELLO = {"steps": [{"text": "Hello there."}]}


def text_of(pieces: list[ModelPiece]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, TextPiece))


async def refused(stage: Stage, wanted: ModelCall | None = None) -> SeptemberError:
    """The error of one call."""
    async with stage.running() as gateway:
        with pytest.raises(SeptemberError) as caught:
            await read(gateway, wanted or call())
    return caught.value


async def test_pieces_come_in_order_and_end_with_what_the_call_meant() -> None:
    usage = {"input_tokens": 30, "output_tokens": 5, "cache_hit_tokens": 10}
    stage = Stage(provider({"steps": [{"text": "Hello there."}], "usage": usage}))
    async with stage.running() as gateway:
        pieces = await read(gateway, call())
    assert pieces[0] == BlockStarted(0, "text")
    assert text_of(pieces) == "Hello there."
    assert pieces[-2] == BlockStopped(0, "text")
    done = pieces[-1]
    assert isinstance(done, Completed)
    assert done.usage == TokenUsage(input_tokens=30, output_tokens=5, cache_hit_tokens=10)
    assert (done.provider, done.cost_usd, done.context_window) == ("scripted", 0.0, 128_000)
    assert gateway.budget.left == 995


async def test_complete_gives_the_whole_message_at_once() -> None:
    async with Stage(provider(HELLO)).running() as gateway:
        done = await gateway.complete(call())
    assert done.stop_reason == "end_turn"
    assert len(done.message.blocks) == 1


async def test_a_failure_before_anything_was_shown_is_tried_again(
    autojump_clock: MockClock,
) -> None:
    stage = Stage(provider({**OVERLOADED, "times": 3}, HELLO))
    async with stage.running() as gateway:
        pieces = await read(gateway, call())
    assert text_of(pieces) == "Hello there."
    done = pieces[-1]
    assert isinstance(done, Completed)
    assert [attempt.fault for attempt in done.attempts] == [Fault.OVERLOADED] * 3


async def test_a_block_that_had_begun_without_content_does_not_stand_in_the_way_of_a_retry(
    autojump_clock: MockClock,
) -> None:
    broken = {"steps": [{"tool": "bash"}, {"fault": "cut"}], **ONCE}
    async with Stage(provider(broken, HELLO)).running() as gateway:
        pieces = await read(gateway, call())
    assert [piece for piece in pieces if isinstance(piece, BlockStarted)] == [
        BlockStarted(0, "text")
    ]


async def test_a_failure_after_text_was_shown_is_final_and_says_so() -> None:
    cut = {"steps": [{"text": "Once upon"}, {"fault": "cut"}], **ONCE}
    stage = Stage(provider(cut, HELLO))
    shown: list[ModelPiece] = []
    async with stage.running() as gateway:
        with pytest.raises(SeptemberError) as caught:
            async with gateway.stream(call()) as pieces:
                async for piece in pieces:
                    shown.append(piece)
        assert (await stage.status()).in_flight == 0
        assert not (await stage.herald_ref.call(GetHealth())).ok
    assert text_of(shown) == "Once upon"
    assert caught.value.code == "LLM_PROVIDER_ERROR"
    assert caught.value.details["partial"] is True


async def test_retry_after_is_honoured(autojump_clock: MockClock) -> None:
    limited = {"steps": [{"fault": "rate_limited", "retry_after": 8}], **ONCE}
    async with Stage(provider(limited, HELLO)).running() as gateway:
        began = trio.current_time()
        await read(gateway, call())
    assert 8.0 <= trio.current_time() - began <= 9.0


async def test_a_long_retry_after_is_handed_on_at_once(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    error = await refused(
        Stage(provider({"steps": [{"fault": "rate_limited", "retry_after": 600}]}))
    )
    assert trio.current_time() == began
    assert (error.code, error.status, error.retry_after) == ("LLM_RATE_LIMITED", 429, 600)


async def test_a_rate_limit_without_a_wish_still_tells_the_client_when(
    autojump_clock: MockClock,
) -> None:
    error = await refused(Stage(provider({"steps": [{"fault": "rate_limited"}]})))
    assert error.retry_after is not None
    assert len(_attempts(error)) == RetryPolicy().attempts


def _attempts(error: SeptemberError) -> list[object]:
    attempts = error.details["attempts"]
    assert isinstance(attempts, list)
    return list(attempts)  # pyright: ignore[reportUnknownArgumentType]  # narrowed from object


@pytest.mark.parametrize(
    ("fault", "code", "tries"),
    [
        ("overloaded", "LLM_PROVIDER_ERROR", 4),
        ("unavailable", "LLM_PROVIDER_ERROR", 4),
        ("timeout", "LLM_TIMEOUT", 4),
        ("cut", "LLM_PROVIDER_ERROR", 4),
        ("auth", "LLM_PROVIDER_ERROR", 1),
        ("rejected", "LLM_PROVIDER_ERROR", 1),
        ("context_overflow", "CONTEXT_OVERFLOW", 1),
    ],
)
async def test_each_fault_has_its_code_and_its_number_of_tries(
    fault: str, code: str, tries: int, autojump_clock: MockClock
) -> None:
    error = await refused(Stage(provider({"steps": [{"fault": fault}]})))
    assert error.code == code
    assert len(_attempts(error)) == tries
    assert "main-model" in error.message


async def test_the_fallback_answers_when_the_main_model_fails_for_good(
    autojump_clock: MockClock,
) -> None:
    stage = Stage(provider({"steps": [{"fault": "auth"}]}), other=provider(HELLO))
    async with stage.running() as gateway:
        done = await gateway.complete(call())
        health = await stage.herald_ref.call(GetHealth())
    assert done.provider == OTHER.provider
    assert [attempt.fault for attempt in done.attempts] == [Fault.AUTH]
    assert health.ok, "the last call succeeded"


async def test_with_a_fallback_nobody_waits_long_for_the_main_model(
    autojump_clock: MockClock,
) -> None:
    limited = {"steps": [{"fault": "rate_limited", "retry_after": 20}]}
    stage = Stage(provider(limited), other=provider(HELLO))
    async with stage.running() as gateway:
        began = trio.current_time()
        await gateway.complete(call())
    assert trio.current_time() == began


async def test_a_conversation_too_long_for_the_main_model_is_not_sent_to_the_fallback() -> None:
    overflow = provider({"steps": [{"fault": "context_overflow"}]})
    error = await refused(Stage(overflow, other=provider(HELLO)))
    assert error.code == "CONTEXT_OVERFLOW"


async def test_when_both_fail_the_error_names_every_attempt(autojump_clock: MockClock) -> None:
    bad = {"steps": [{"fault": "rejected", "message": "no such model"}]}
    error = await refused(Stage(provider({"steps": [{"fault": "auth"}]}), other=provider(bad)))
    assert error.details["attempts"] == [
        {"target": "scripted:main-model", "fault": "auth", "message": "scripted: auth"},
        {"target": "openai:other-model", "fault": "rejected", "message": "no such model"},
    ]


async def test_an_open_breaker_goes_straight_to_the_fallback(autojump_clock: MockClock) -> None:
    limits = ProviderLimits(breaker=BreakerPolicy(threshold=3, cool_s=30))
    stage = Stage(provider({**OVERLOADED, "times": 3}, HELLO), other=provider(HELLO), limits=limits)
    async with stage.running() as gateway:
        await gateway.complete(call())
        assert (await stage.status()).breaker is BreakerState.OPEN
        began = trio.current_time()
        assert (await gateway.complete(call())).provider == OTHER.provider
        assert trio.current_time() == began
        await trio.sleep(30)
        assert (await gateway.complete(call())).provider == "scripted"
        assert (await stage.status()).breaker is BreakerState.CLOSED


async def test_an_open_breaker_without_a_fallback_fails_at_once_and_says_when_to_come_back(
    autojump_clock: MockClock,
) -> None:
    limits = ProviderLimits(breaker=BreakerPolicy(threshold=4, cool_s=30))
    stage = Stage(provider(OVERLOADED), limits=limits)
    async with stage.running() as gateway:
        with pytest.raises(SeptemberError):
            await gateway.complete(call())
        began = trio.current_time()
        with pytest.raises(SeptemberError) as caught:
            await gateway.complete(call())
        assert trio.current_time() == began
    assert caught.value.code == "LLM_PROVIDER_ERROR"
    assert caught.value.retry_after == pytest.approx(30)


async def test_silence_is_a_timeout_and_is_tried_again(autojump_clock: MockClock) -> None:
    stall = {"steps": [{"fault": "stall"}], **ONCE}
    async with Stage(provider(stall, HELLO)).running() as gateway:
        began = trio.current_time()
        done = await gateway.complete(call())
    assert [attempt.fault for attempt in done.attempts] == [Fault.TIMEOUT]
    assert 60 <= trio.current_time() - began <= 61


async def test_silence_in_mid_stream_is_a_final_timeout(autojump_clock: MockClock) -> None:
    slow = {"steps": [{"text": "One moment", "piece_chars": 4, "delay_ms": 31_000}]}
    error = await refused(Stage(provider(slow), policy=CallPolicy(idle_s=30)))
    assert (error.code, error.status) == ("LLM_TIMEOUT", 504)
    assert error.details["partial"] is True


async def test_a_model_that_thinks_unseen_is_not_taken_for_a_silent_one(
    autojump_clock: MockClock,
) -> None:
    thinking = {"steps": [{"wait_s": 300}, {"text": "42"}, {"wait_s": 200}, {"tool": "bash"}]}
    async with Stage(provider(thinking), policy=CallPolicy(idle_s=30)).running() as gateway:
        assert text_of(await read(gateway, call())) == "42"


async def test_a_stream_that_trickles_for_ever_meets_the_total_limit(
    autojump_clock: MockClock,
) -> None:
    trickle = {"steps": [{"text": "x" * 100, "piece_chars": 1, "delay_ms": 20_000}]}
    stage = Stage(provider(trickle), policy=CallPolicy(idle_s=30, total_s=120))
    began = trio.current_time()
    error = await refused(stage)
    assert error.code == "LLM_TIMEOUT"
    assert trio.current_time() - began == 120


async def test_the_turns_own_deadline_is_not_waited_into(autojump_clock: MockClock) -> None:
    limited = {"steps": [{"fault": "rate_limited", "retry_after": 10}]}
    stage = Stage(provider(limited))
    async with stage.running() as gateway:
        began = trio.current_time()
        with trio.fail_after(5), pytest.raises(SeptemberError) as caught:
            await gateway.complete(call())
        assert trio.current_time() == began
    assert caught.value.retry_after == 10


async def test_a_used_up_quota_is_a_rate_limit_of_our_own(autojump_clock: MockClock) -> None:
    usage = {"input_tokens": 90, "output_tokens": 20}
    stage = Stage(provider({**HELLO, "usage": usage}), quota=(100, 60.0))
    async with stage.running() as gateway:
        await gateway.complete(call())
        with pytest.raises(SeptemberError) as caught:
            await gateway.complete(call())
        assert (caught.value.code, caught.value.retry_after) == ("LLM_RATE_LIMITED", 60.0)
        await trio.sleep(60)
        await gateway.complete(call())


async def test_a_model_of_a_provider_without_a_key_is_refused_with_the_remedy() -> None:
    wanted = ModelCall(system=(), messages=call().messages, model="gemini:gemini-9")
    error = await refused(Stage(provider(HELLO)), wanted)
    assert error.code == "LLM_PROVIDER_ERROR"
    assert "GEMINI_API_KEY" in error.message


async def test_the_budget_counts_over_all_calls_of_the_turn() -> None:
    cut_off = {**HELLO, "usage": {"output_tokens": 60}, "stop_reason": "max_tokens"}
    stage = Stage(provider(cut_off), budget=TurnBudget(100, enabled=True))
    async with stage.running() as gateway:
        first = await gateway.complete(call())
        assert gateway.budget.may_continue(first.stop_reason)
        await gateway.complete(call())
        assert not gateway.budget.may_continue("max_tokens")


PHASES: dict[str, Callable[[], Stage]] = {
    "in line for a permit": lambda: Stage(
        provider({"steps": [{"fault": "stall"}]}), limits=ProviderLimits(concurrency=1)
    ),
    "before the first piece": lambda: Stage(provider({"steps": [{"fault": "stall"}]})),
    "inside a block": lambda: Stage(provider({"steps": [{"text": "x" * 99, "delay_ms": 9e6}]})),
    "after the text": lambda: Stage(provider({"steps": [{"text": "a"}, {"fault": "stall"}]})),
    "between two attempts": lambda: Stage(
        provider({"steps": [{"fault": "rate_limited", "retry_after": 20}]})
    ),
}


@pytest.mark.parametrize("phase", PHASES)
async def test_cancelling_leaves_no_permit_behind(phase: str) -> None:
    stage = PHASES[phase]()
    async with stage.running() as gateway:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(read, gateway, call())
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        status = await stage.status()
    assert (status.in_flight, status.waiting) == (0, 0)
    assert status.breaker is BreakerState.CLOSED, "a cancelled call is not the provider's fault"


async def test_leaving_early_leaves_no_permit_behind() -> None:
    stage = Stage(provider({"steps": [{"text": "x" * 500}]}))
    async with stage.running() as gateway:
        async with gateway.stream(call()) as pieces:
            async for _ in pieces:
                break
        status = await stage.status()
    assert (status.in_flight, status.waiting) == (0, 0)


async def test_an_error_of_the_turn_itself_comes_out_as_it_is() -> None:
    stage = Stage(provider({"steps": [{"text": "x" * 500}]}))
    async with stage.running() as gateway:
        with pytest.raises(KeyError, match="mine"):
            async with gateway.stream(call()) as pieces:
                async for _ in pieces:
                    raise KeyError("mine")
        assert (await stage.status()).in_flight == 0


async def test_a_client_that_cannot_be_made_is_an_outage_that_may_pass(
    autojump_clock: MockClock,
) -> None:
    """The actor crashes, its supervisor restarts it, and the turn knows nothing of that."""
    stage = Stage(provider(HELLO))
    crashes = iter([RuntimeError("no SDK"), RuntimeError("no SDK")])

    def make() -> Provider:
        for crash in crashes:
            raise crash
        return stage.main

    stage.providers["scripted"] = ChildSpec("scripted", lambda: ProviderActor("scripted", make))
    async with stage.running() as gateway:
        done = await gateway.complete(call())
    assert [attempt.fault for attempt in done.attempts] == [Fault.UNAVAILABLE] * 2


async def test_many_turns_share_a_provider_within_its_limit() -> None:
    stage = Stage(provider(HELLO), limits=ProviderLimits(concurrency=2))
    done: list[Completed] = []

    async def turn() -> None:
        done.append(await stage.gateway().complete(call()))

    async with stage.running():
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(turn)
        assert (await stage.status()).in_flight == 0
    assert len(done) == 20
