"""What each provider's failures become: one fault, the wait it asked for, and never its key."""

import pytest
import trio

from september.brain.herald.conversation import Finished, TextPiece
from september.brain.herald.provider import Fault, ProviderError
from september.brain.herald.sdk import Timeouts
from september.config import Secret
from tests.peers import (
    Call,
    ContextOverflow,
    Cut,
    End,
    Fail,
    HangUp,
    Overloaded,
    Page,
    Part,
    RateLimit,
    Say,
    Script,
    Stall,
    Status,
    script,
)
from tests.peers.adapters import ADAPTERS, CLOCK, PROVIDERS, adapter, ask, collect, finish

each = pytest.mark.parametrize("name", PROVIDERS)


async def failure(name: str, played: Script, *, idle: float = 5.0, key: str = "") -> ProviderError:
    async with adapter(name, played, idle=idle, key=key) as (provider, _):
        with pytest.raises(ProviderError) as caught:
            await collect(provider, ask(name, tools=(CLOCK,)))
    assert caught.value.provider == name
    return caught.value


@each
@pytest.mark.parametrize("form", ["seconds", "ms", "date", "body", "none"])
async def test_a_rate_limit_brings_the_wait_the_provider_asked_for(name: str, form: str) -> None:
    wait = 4.0 if form == "date" else 1.5
    error = await failure(name, script(RateLimit(wait, form)))
    assert error.fault is Fault.RATE_LIMITED
    assert error.status == 429
    assert error.fault.code == "LLM_RATE_LIMITED"
    if form == "none" or (form == "body" and name != "gemini"):
        assert error.retry_after is None
    elif form == "date":  # a date has whole seconds, and time has passed since
        assert error.retry_after is not None
        assert 1.0 < error.retry_after <= 4.0
    else:
        assert error.retry_after == 1.5


@each
async def test_a_proxys_error_page_is_understood_by_its_status(name: str) -> None:
    error = await failure(name, script(Page(502)))
    assert error.fault is Fault.UNAVAILABLE
    assert error.status == 502
    assert "Bad gateway" in error.message
    assert (await failure(name, script(Page(429)))).fault is Fault.RATE_LIMITED


@each
async def test_an_adapter_never_retries_by_itself(name: str) -> None:
    async with adapter(name, script(RateLimit(0.0), Say("too late"))) as (provider, peer):
        with pytest.raises(ProviderError):
            await collect(provider, ask(name))
        assert len(peer.requests) == 1


@each
async def test_overload_is_told_apart_from_failure(name: str) -> None:
    assert (await failure(name, script(Overloaded()))).fault is Fault.OVERLOADED
    assert (await failure(name, script(Status(500)))).fault is Fault.UNAVAILABLE


@each
@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (400, Fault.REJECTED),
        (403, Fault.AUTH),
        (404, Fault.REJECTED),
        (413, Fault.CONTEXT_OVERFLOW),
        (500, Fault.UNAVAILABLE),
        (502, Fault.UNAVAILABLE),
        (504, Fault.TIMEOUT),
    ],
)
async def test_every_status_has_its_fault(name: str, status: int, fault: Fault) -> None:
    error = await failure(name, script(Status(status, "something is off")))
    assert error.fault is fault
    assert error.status == status
    assert "something is off" in error.message


@each
async def test_a_prompt_that_does_not_fit_is_an_overflow(name: str) -> None:
    error = await failure(name, script(ContextOverflow()))
    assert error.fault is Fault.CONTEXT_OVERFLOW
    assert error.fault.code == "CONTEXT_OVERFLOW"
    assert not error.fault.retryable


@each
async def test_a_wrong_key_is_an_auth_fault_and_is_not_repeated_in_the_message(name: str) -> None:
    error = await failure(name, script(Say("never")), key="sk-wrong-9876543210")
    assert error.fault is Fault.AUTH
    assert "9876543210" not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__


@each
async def test_an_error_text_that_repeats_the_key_is_scrubbed(name: str) -> None:
    played = script(Status(400, "bad header: sk-peer-0123456789abcdef, or sk-live-abcdefghij"))
    error = await failure(name, played)
    assert "0123456789abcdef" not in str(error)
    assert "abcdefghij" not in str(error)
    assert "bad header" in str(error)


@each
@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("overloaded", Fault.OVERLOADED),
        ("rate_limit", Fault.RATE_LIMITED),
        ("server", Fault.UNAVAILABLE),
    ],
)
async def test_an_error_event_within_the_stream_has_its_fault(
    name: str, kind: str, fault: Fault
) -> None:
    error = await failure(name, script([Say("so far"), Fail(kind)]))
    assert error.fault is fault


@each
@pytest.mark.parametrize("reset", [False, True])
async def test_a_connection_that_breaks_is_a_cut(name: str, reset: bool) -> None:
    error = await failure(name, script([Say("so far, so"), Cut(reset=reset)]))
    assert error.fault is Fault.CUT
    assert error.fault.retryable


@each
async def test_a_stream_that_ends_early_but_cleanly_is_a_cut(name: str) -> None:
    error = await failure(name, script([Say("so far, so"), End()]))
    assert error.fault is Fault.CUT


@each
async def test_no_cut_point_passes_for_a_whole_answer(name: str) -> None:
    """Cut after every event in turn: only a stream with its finish event may finish."""
    reply = [Say("one two three", size=4), Call("clock", {"zone": "CET"}, size=4)]
    breaks = [Cut(after) if after % 2 else End(after) for after in range(40)]
    async with adapter(name, script(reply, *([*reply, each] for each in breaks))) as (provider, _):
        whole = await finish(provider, ask(name, tools=(CLOCK,)))
        cuts = 0
        for _ in breaks:
            try:
                finished = await finish(provider, ask(name, tools=(CLOCK,)))
            except ProviderError as error:
                assert error.fault is Fault.CUT
                cuts += 1
                continue
            assert finished.stop_reason == whole.stop_reason
            assert len(finished.message.blocks) == len(whole.message.blocks)
    assert cuts > 3


@each
async def test_the_pieces_before_a_cut_were_delivered(name: str) -> None:
    async with adapter(name, script([Say("so far, so good"), Cut()])) as (provider, _):
        seen: list[str] = []
        with pytest.raises(ProviderError):
            async with provider.stream(ask(name)) as pieces:
                async for piece in pieces:
                    assert not isinstance(piece, Finished)
                    seen += [piece.text] if isinstance(piece, TextPiece) else []
    assert "".join(seen) == "so far, so good"


@each
async def test_silence_beyond_the_limit_is_a_timeout(name: str) -> None:
    error = await failure(name, script([Say("so far"), Stall()]), idle=0.2)
    assert error.fault is Fault.TIMEOUT
    assert error.fault.code == "LLM_TIMEOUT"


@each
async def test_a_server_that_hangs_up_before_answering_is_a_cut(name: str) -> None:
    assert (await failure(name, script(HangUp()))).fault is Fault.CUT


@each
async def test_no_server_is_unavailable(name: str) -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    provider = ADAPTERS[name](
        Secret("sk-none"), base_url=f"http://127.0.0.1:{port}", timeouts=Timeouts(connect=2.0)
    )
    with pytest.raises(ProviderError) as caught:
        await collect(provider, ask(name))
    assert caught.value.fault is Fault.UNAVAILABLE
    await provider.aclose()


@each
async def test_an_adapter_works_on_after_every_failure(name: str) -> None:
    replies: list[Part | list[Part]] = [
        Status(500),
        [Say("x"), Cut()],
        HangUp(),
        [Say("x"), End()],
        Say("at last"),
    ]
    async with adapter(name, script(*replies)) as (provider, _):
        for _ in replies[:-1]:
            with pytest.raises(ProviderError):
                await collect(provider, ask(name))
        assert (await finish(provider, ask(name))).stop_reason == "end_turn"


async def test_a_request_the_sdk_refuses_to_build_is_not_worth_repeating() -> None:
    async with adapter("gemini", script(Say("never"))) as (provider, peer):
        with pytest.raises(ProviderError) as caught:
            await collect(provider, ask("gemini", model=""))
        assert peer.requests == []
    assert caught.value.fault is Fault.REJECTED
    assert not caught.value.fault.retryable


async def test_an_empty_openai_account_is_not_worth_waiting_for() -> None:
    error = await failure("openai", script(Status(429, "no quota", code="insufficient_quota")))
    assert error.fault is Fault.REJECTED
