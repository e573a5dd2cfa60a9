"""The stream client against a real Engine, over connections that break."""

import httpx2
import pytest
import trio

from september.cli.sse_client import (
    Backoff,
    EngineClient,
    EngineUnreachable,
    NewTurn,
    Received,
    connected,
)
from september.errors import SeptemberError

from .engines import RunningEngine, cutting


async def followed(url: str, key: str, turn: NewTurn) -> tuple[list[Received], list[str]]:
    """All events of the turn as its client saw them, and the cuts on the way."""
    events: list[Received] = []
    cuts: list[str] = []
    async with connected(url, key, cuts.append) as client:
        await client.follow(turn, events.append)
    return events, cuts


async def logged(engine: RunningEngine, task_id: str) -> list[tuple[int, str, str]]:
    """All events of the task as the Engine has them."""
    async with httpx2.AsyncClient(headers={"X-Engine-Key": engine.key}) as http:
        params = {"task_id": task_id, "follow": "false"}
        async with http.sse(f"{engine.url}/execute/replay", params=params) as source:
            return [(int(sse.id), sse.event, sse.data) async for sse in source]


async def test_a_turn_is_followed_to_its_end(engine: RunningEngine) -> None:
    events, cuts = await followed(engine.url, engine.key, NewTurn("plain", "count to 12"))
    assert [(e.id, e.name, e.data) for e in events] == await logged(engine, "plain")
    assert events[0].name == events[-1].name == "thread_lifecycle"
    assert not cuts


@pytest.mark.parametrize("size", [0, 1, 150, 400, 700, 1000])
async def test_no_event_is_lost_or_repeated_however_the_connection_breaks(
    engine: RunningEngine, size: int
) -> None:
    task = f"cut-{size}"
    async with cutting(engine.port, iter([size, size + 100, size + 200])) as url:
        events, cuts = await followed(url, engine.key, NewTurn(task, "count to 12"))
    assert [(e.id, e.name, e.data) for e in events] == await logged(engine, task)
    assert cuts
    started = [e for e in events if '"started"' in e.data]
    assert len(started) == 1, "the turn ran once, however often it was posted"


async def test_the_engines_refusal_is_raised_with_its_code(engine: RunningEngine) -> None:
    with pytest.raises(SeptemberError, match="INVALID_KEY") as refused:
        await followed(engine.url, "wrong", NewTurn("t", "hello"))
    assert refused.value.code == "INVALID_KEY"
    with pytest.raises(SeptemberError, match="AGENT_NOT_FOUND"):
        await followed(engine.url, engine.key, NewTurn("t", "hello", agent="nobody"))


async def test_nobody_there_is_said_at_once() -> None:
    with trio.fail_after(5), pytest.raises(EngineUnreachable, match="september engine"):
        await followed("http://127.0.0.1:1", "k", NewTurn("t", "hello"))


async def test_an_engine_that_stays_away_is_given_up(engine: RunningEngine) -> None:
    async with httpx2.AsyncClient(headers={"X-Engine-Key": engine.key}) as http:
        async with cutting(engine.port, iter([200] + [0] * 100)) as url:
            http.base_url = url
            client = EngineClient(http, lambda _: None, patience=0.3)
            with trio.fail_after(10), pytest.raises(EngineUnreachable, match="replay"):
                await client.follow(NewTurn("gone", "count to 12"), lambda _: None)


async def test_a_page_that_is_no_engine_is_told_from_one(engine: RunningEngine) -> None:
    with pytest.raises(SeptemberError):
        await followed(f"{engine.url}/docs", engine.key, NewTurn("t", "hello"))


async def test_backoff_ends_when_patience_does(autojump_clock: trio.testing.MockClock) -> None:
    backoff = Backoff(patience=10)
    waits = 0
    while await backoff.wait():
        waits += 1
    assert trio.current_time() >= 10
    assert 4 <= waits < 200
