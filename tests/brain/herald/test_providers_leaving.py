"""Leaving a stream, however it happens: the provider's server sees it at once, nothing leaks."""

import gc

import pytest
import trio
import trio.testing

from september.brain.herald.conversation import TextBlock, TextPiece
from september.brain.herald.provider import Provider
from tests.peers import Peer, Received, Say, Script, Stall, Think, Wait, script
from tests.peers.adapters import PROVIDERS, adapter, ask, collect, finish

each = pytest.mark.parametrize("name", PROVIDERS)

AT_ONCE = 0.1
"""Seconds within which the server must see the connection close."""

LONG = script([Say("word " * 50, size=5), Stall()], repeat=True)


async def closed(peer: Peer, since: float) -> Received:
    request = await peer.wait_request(0)
    with trio.fail_after(2):
        await request.closed.wait()
    assert request.closed_by == "client"
    assert request.closed_at - since < AT_ONCE
    return request


async def read_one(provider: Provider, name: str) -> None:
    async with provider.stream(ask(name)) as pieces:
        async for piece in pieces:
            if isinstance(piece, TextPiece):
                break


@each
async def test_break_closes_the_connection(name: str) -> None:
    async with adapter(name, LONG) as (provider, peer):
        await read_one(provider, name)
        await closed(peer, trio.current_time())


@each
async def test_an_exception_in_the_body_closes_it_and_comes_out_plain(name: str) -> None:
    async with adapter(name, LONG) as (provider, peer):
        with pytest.raises(ZeroDivisionError):
            async with provider.stream(ask(name)) as pieces:
                async for _ in pieces:
                    raise ZeroDivisionError
        await closed(peer, trio.current_time())


@each
async def test_cancelling_a_silent_stream_closes_it(name: str) -> None:
    async with adapter(name, script([Say("so far"), Stall()])) as (provider, peer):
        seen = trio.Event()

        async def consume() -> None:
            async with provider.stream(ask(name)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, TextPiece):
                        seen.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume)
            await seen.wait()
            await trio.testing.wait_all_tasks_blocked(0.01)
            cancelled_at = trio.current_time()
            nursery.cancel_scope.cancel()
        await closed(peer, cancelled_at)


@each
async def test_cancelling_before_the_first_byte_closes_it(name: str) -> None:
    async with adapter(name, script([Wait("never")])) as (provider, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect, provider, ask(name))
            await peer.wait_request(0)
            cancelled_at = trio.current_time()
            nursery.cancel_scope.cancel()
        await closed(peer, cancelled_at)


@each
async def test_leaving_without_reading_closes_it(name: str) -> None:
    async with adapter(name, LONG) as (provider, peer):
        async with provider.stream(ask(name)):
            pass
        assert all([(await closed(peer, trio.current_time())) for _ in peer.requests])


@each
async def test_leaving_under_a_cancelled_scope_keeps_the_bodys_own_error(name: str) -> None:
    async with adapter(name, LONG) as (provider, _):
        with trio.CancelScope() as scope, pytest.raises(ZeroDivisionError):
            async with provider.stream(ask(name)) as pieces:
                async for _ in pieces:
                    scope.cancel()
                    raise ZeroDivisionError


@each
async def test_nothing_is_left_for_the_garbage_collector(name: str) -> None:
    """trio warns of async generators that were dropped open; warnings are errors here."""
    played = script(Say("a b c d e f"), *[[Say("a b c"), Stall()]] * 3)
    async with adapter(name, played) as (provider, _):
        await finish(provider, ask(name))
        for _ in range(3):
            await read_one(provider, name)
        gc.collect()
        await trio.testing.wait_all_tasks_blocked()


@each
async def test_a_finished_stream_leaves_its_connection_for_the_next(name: str) -> None:
    async with adapter(name, script(Say("hi"), repeat=True)) as (provider, peer):
        for _ in range(5):
            await finish(provider, ask(name))
        assert peer.connections == 1


@each
async def test_twenty_streams_at_once_do_not_mix(name: str) -> None:
    async def play(number: int, provider: Provider, answers: list[str]) -> None:
        finished = await finish(provider, ask(name))
        answers.extend(b.text for b in finished.message.blocks if isinstance(b, TextBlock))

    replies = [[Think("hm"), Say(f"answer {number} " * 20, size=7)] for number in range(20)]
    async with adapter(name, script(*replies, chunk=11)) as (provider, _):
        answers: list[str] = []
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(play, number, provider, answers)
    assert len(answers) == 20
    for number in range(20):
        assert answers.count(f"answer {number} " * 20) == 1


@each
async def test_closing_the_adapter_ends_its_connections(name: str) -> None:
    async with adapter(name, script(Say("hi"), repeat=True)) as (provider, peer):
        await finish(provider, ask(name))
        await provider.aclose()
        with trio.fail_after(1):
            while peer.open_connections:
                await trio.testing.wait_all_tasks_blocked(0.001)


@each
async def test_a_call_may_be_cancelled_while_its_sdk_loads(name: str) -> None:
    async with adapter(name, script(Say("hi"))) as (provider, peer):
        with trio.CancelScope() as scope:
            scope.cancel()
            await finish(provider, ask(name))
        assert scope.cancelled_caught
        assert (await finish(provider, ask(name))).stop_reason == "end_turn"
        assert len(peer.requests) == 1


@each
async def test_the_sdk_loads_once_for_many_first_calls(name: str) -> None:
    played: Script = script(Say("hi"), repeat=True)
    async with adapter(name, played) as (provider, peer), trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(finish, provider, ask(name))
    assert len(peer.requests) == 5
