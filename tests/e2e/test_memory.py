"""Memory over HTTP: written, found, forgotten, moved to another Engine, refused."""

from pathlib import Path
from typing import Any

import pytest

from tests.peers import script

from .client import Client, Refused
from .stage import staged

DAY = 86_400_000


async def rpc(client: Client, method: str, **params: object) -> Any:
    return (await client.post("/rpc", {"method": method, "params": params}))["result"]


async def found(client: Client, query: str, store: str = "episodes", **more: object) -> Any:
    return await client.post(f"/memory/{store}/search", {"query": query, **more})


async def filled(client: Client) -> None:
    """All kinds of memories, one of each forgotten or closed, and more than one MiB of them."""
    said = [f"Ada spoke of topic {n % 7}, and then of number {n}." for n in range(300)]
    long = "The minutes were read. " * 500
    episodes = [
        {"key": "talk", "description": "", "value": f"{text} {long}"[:6000], "occurred_at": n * DAY}
        for n, text in enumerate(said, 1)
    ]
    for some in (episodes[:150], episodes[150:]):
        ids = (await rpc(client, "memory.episode_write_many", episodes=some))["ids"]
        await rpc(client, "memory.forget", id=ids[3])
    for city in ("Berlin", "Paris"):
        await rpc(client, "memory.knowledge_write", subject="Ada", content=f"lives in {city}")
    wrong = await rpc(client, "memory.knowledge_write", subject="Ada", content="owns a yacht")
    await rpc(client, "memory.forget", id=wrong["id"])
    edges = [{"from": "Ada", "to": "Bo", "relation": "sister of"}]
    await rpc(client, "memory.social_write", nodes=[{"name": "Ada"}], edges=edges)


async def settled(client: Client) -> None:
    """Import nothing: the answer waits for the vectors of what is there."""
    empty = {"format": "september-memory", "version": 1}
    progress = (await client.post("/memory/import", empty))["embedding"]
    assert progress["pending"] == 0 and progress["total"] > 0


async def everything_found(client: Client) -> list[Any]:
    return [
        await found(client, "What did Ada say about topic 3?", limit=50),
        await found(client, "minutes"),
        await found(client, "Where does Ada live?", "knowledge", history=True),
        await found(client, "Ada", "social"),
    ]


async def test_m4_what_was_written_is_found_at_once_and_what_was_forgotten_no_more(
    tmp_path: Path,
) -> None:
    async with staged("anthropic", script(), tmp_path) as stage:
        write = {"key": "keys", "description": "", "value": "The spare key is under the fern."}
        made = await rpc(stage.client, "memory.episode_write", **write, occurred_at="2026-01-02")
        (hit,) = await found(stage.client, "spare key")
        assert hit == {
            **{"id": made["id"], **write, "source": "user"},
            **{"occurred_at": "2026-01-02T00:00:00.000Z", "score": hit["score"]},
        }
        gone = await rpc(stage.client, "memory.forget", id=made["id"])
        assert gone["store"] == "episodes" and await found(stage.client, "spare key") == []


async def test_a_brain_moves_by_export_and_import_and_finds_exactly_what_it_found(
    tmp_path: Path,
) -> None:
    async with staged("anthropic", script(), tmp_path / "one") as one:
        await filled(one.client)
        await settled(one.client)
        document = await one.client.get("/memory/export")
        before = await everything_found(one.client)
    assert len(before[0]) == 50 and any(fact["valid_until"] for fact in before[2])
    async with staged("anthropic", script(), tmp_path / "two") as two:
        answer = await two.client.post("/memory/import", document)
        assert answer["status"] == "imported" and answer["embedding"]["pending"] == 0
        assert answer["counts"]["episodes"] == {"added": 300, "kept": 0}
        assert answer["counts"]["knowledge"] == {"added": 3, "kept": 0}
        assert await everything_found(two.client) == before
        assert await two.client.get("/memory/export") == document
        assert (await rpc(two.client, "memory.integrity"))["sound"]
        again = await two.client.post("/memory/import", document)
        assert {part["added"] for part in again["counts"].values()} == {0}
        assert await everything_found(two.client) == before


ROW = {"id": "ep-1", "source": "s", "created_at": 1, "key": "k", "description": "", "value": "v"}


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"format": "other-memory"}, "format"),
    ({"version": 2}, "version"),
    ({"episodes": [{**ROW, "occurred_at": 1}, ROW]}, "episodes[1]"),
    ({"episodes": [{**ROW, "occurred_at": 10**15}]}, "episodes[0].occurred_at"),
    ({"episodes": [{**ROW, "occurred_at": 1, "vector": []}]}, "vector"),
    ({"knowledge": {}}, "knowledge"),
    ({"memories": []}, "memories"),
    (
        {"knowledge_sources": [{"knowledge_id": "kn-0", "source": "s", "added_at": 1}]},
        "knowledge_sources[0].knowledge_id",
    ),
]


async def test_a_broken_or_foreign_document_says_where_and_changes_nothing(tmp_path: Path) -> None:
    async with staged("anthropic", script(), tmp_path) as stage:
        good = {"episodes": [{**ROW, "id": "ep-0", "occurred_at": 1}]}
        for change, place in BROKEN:
            document = {"format": "september-memory", "version": 1, **good, **change}
            with pytest.raises(Refused) as refused:
                await stage.client.post("/memory/import", document)
            body = refused.value.body
            assert body["error"] == "INVALID_REQUEST" and place in body["message"], body
        assert (await stage.client.get("/memory/export"))["episodes"] == []


async def test_a_time_outside_the_calendar_is_refused_by_name(tmp_path: Path) -> None:
    episode = {"key": "k", "description": "", "value": "v"}
    async with staged("anthropic", script(), tmp_path) as stage:
        for moment in (10**18, -(10**17), "yesterday", 1e300, "0001-01-01T00:00+23:59"):
            with pytest.raises(Refused) as refused:
                await rpc(stage.client, "memory.episode_write", **episode, occurred_at=moment)
            assert refused.value.body["details"] == {"field": "params.occurred_at"}
