"""MCP servers that nobody here wrote, called by a model in a turn: the whole way, both ways."""

import json
import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
import trio
from cryptography.fernet import Fernet

from september.brain.media.png import bare
from tests.brain.assets.conftest import descendants, python_server
from tests.brain.media.samples import base64
from tests.peers import Call, Say, Script, provider_peer, script

from .client import Client, named, phases, text_of
from .crash import wait_gone
from .harness import engine_process, peered
from .stage import Stage, each_provider, staged
from .test_assets import catalog
from .waiting import until

Definition = Callable[..., dict[str, object]]

ECHO = Call("everything.echo", {"message": "hello"})
LONG = Call("everything.trigger-long-running-operation", {"duration": 60, "steps": 60})


@asynccontextmanager
async def connected(
    replies: Script, folder: Path, *servers: dict[str, object], provider: str = "anthropic"
) -> AsyncGenerator[Stage]:
    """An Engine that has these servers connected."""
    root = catalog(folder, *servers)
    async with staged(provider, replies, folder, CATALOG_DIR=str(root)) as stage:
        for one in servers:
            made = await stage.client.post("/assets/connect", {"server_name": one["name"]})
            assert made["status"] == "connected"
        yield stage


def node_pids() -> list[int]:
    found = [psutil.Process(pid) for pid in descendants()]
    return [one.pid for one in found if one.name() == "node"]


@each_provider
async def test_a_model_calls_a_server_under_its_dotted_name(
    npm_server: Definition, tmp_path: Path, provider: str
) -> None:
    replies = script([ECHO], [Say("It echoed.")])
    async with connected(replies, tmp_path, npm_server("everything"), provider=provider) as stage:
        events = await stage.client.turn()
        (call,), (result,) = named(events, "tool_call"), named(events, "tool_result")
        assert call["tool"] == result["tool"] == "everything.echo"
        assert (result["output"], result["error"]) == ("Echo: hello", None)
        assert "Echo: hello" in json.dumps(stage.peer.requests[1].body)
        body = {"method": "tool.everything.echo", "params": {"message": "direct"}}
        direct = await stage.client.post("/rpc", body)
        assert direct["result"]["output"] == "Echo: direct"


async def test_all_the_other_servers_answer_a_model(npm_server: Definition, tmp_path: Path) -> None:
    root = tmp_path / "shared"
    place: dict[str, object] = {"timezone": "Europe/Oslo"}
    await trio.run_process(["git", "init", "-q", str(root)])
    (root / "note.txt").write_text("from outside")
    graph = tmp_path / "connectors" / "memory" / "graph.jsonl"
    servers = (
        npm_server("filesystem", str(root), roots=[str(root)]),
        npm_server("memory"),
        python_server("git", "mcp_server_git", roots=[str(root)]),
        python_server("time", "mcp_server_time"),
    )
    entity = {"name": "Ada", "entityType": "person", "observations": ["likes engines"]}
    replies = script(
        [Call("filesystem.read_text_file", {"path": str(root / "note.txt")})],
        [Call("memory.create_entities", {"entities": [entity]})],
        [Call("memory.search_nodes", {"query": "engines"})],
        [Call("git.git_status", {"repo_path": str(root)})],
        [Call("time.get_current_time", place)],
        [Say("Done.")],
    )
    key = Fernet.generate_key().decode()
    catalogue = str(catalog(tmp_path, *servers))
    async with staged(
        "anthropic", replies, tmp_path, CATALOG_DIR=catalogue, AD_ENCRYPTION_KEY=key
    ) as stage:
        for one in servers:
            config = {"env": {"MEMORY_FILE_PATH": str(graph)}} if one["name"] == "memory" else None
            body = {"server_name": one["name"], "server_config": config}
            assert (await stage.client.post("/assets/connect", body))["status"] == "connected"
        results = named(await stage.client.turn(), "tool_result")
    assert [one["error"] for one in results] == [None] * 5, results
    said = [one["output"] for one in results]
    for wanted, output in zip(
        ("from outside", "Ada", "likes engines", "note.txt", "Europe/Oslo"), said, strict=True
    ):
        assert wanted in output


async def test_everything_a_server_can_do_reaches_the_turn(
    npm_server: Definition, tmp_path: Path
) -> None:
    replies = script(
        [Call("everything.trigger-long-running-operation", {"duration": 1.2, "steps": 2})],
        [Call("everything.get-tiny-image", {})],
        [Call("connector_read", {"server": "everything"})],
        [Call("connector_read",
              {"server": "everything", "prompt": "args-prompt", "arguments": {"city": "Lima"}})],
        [Call("everything.trigger-sampling-request", {"prompt": "Say hi", "maxTokens": 20})],
        [Say("Hi from the model.")],
        [Call("everything.trigger-elicitation-request", {})],
        [Call("everything.get-sum", {"a": "five"})],
        [Say("Done.")],
    )  # fmt: skip
    async with connected(replies, tmp_path, npm_server("everything")) as stage:
        questions: list[str] = []
        async with stage.client.execute() as stream:
            async for event in stream:
                if event.name == "hitl_request":
                    questions.append(event.data["question"])
                    await stage.client.answer('{"name": "Ada"}')
        progress = named(stream.seen, "tool_progress")
        assert [one["progress"] for one in progress] == [1, 2] and progress[0]["total"] == 2
        long, image, listing, prompt, sampled, elicited, wrong = named(stream.seen, "tool_result")
        assert long["error"] is None
        (picture,) = stage.workspace.glob("everything-get-tiny-image-*.png")
        assert picture.name in image["output"]
        assert picture.read_bytes().startswith(b"\x89PNG")
        shown = base64(bare(picture.read_bytes()))  # its colour profile is broken
        seen = [str(request.body).count(shown) for request in stage.peer.requests[:3]]
        assert seen == [0, 0, 1], "the model sees it with the call after"
        assert "resource " in listing["output"] and "prompt args-prompt" in listing["output"]
        assert "Lima" in prompt["output"]
        assert "Hi from the model." in sampled["output"]
        assert "everything asks:" in questions[0] and "Ada" in elicited["output"]
        assert wrong["error"] == "invalid_input"
        assert text_of(stream.seen) == "Done."


async def test_u11_a_server_killed_in_mid_call_costs_the_turn_under_a_second(
    npm_server: Definition, tmp_path: Path
) -> None:
    replies = script([LONG], [ECHO], [Say("Done.")])
    async with connected(replies, tmp_path, npm_server("everything")) as stage:
        async with stage.client.execute() as stream:
            await stream.until("tool_progress")
            for pid in node_pids():
                os.kill(pid, signal.SIGKILL)
            began = trio.current_time()
            broken = await stream.until("tool_result")
            assert trio.current_time() - began < 1.0
            assert broken.data["error"] == "mcp_connection_failed"
            events = await stream.rest()
        assert named(events, "tool_result")[-1]["output"] == "Echo: hello"
        assert phases(events)[-1] == "completed"
        await until(lambda: len(node_pids()) == 1)


async def test_a_cancelled_turn_ends_its_call_and_leaves_the_server_usable(
    npm_server: Definition, tmp_path: Path
) -> None:
    replies = script([LONG], [ECHO], [Say("Done.")])
    async with connected(replies, tmp_path, npm_server("everything")) as stage:
        async with stage.client.execute() as stream:
            await stream.until("tool_progress")
            began = trio.current_time()
            await stage.client.cancel()
            events = await stream.rest()
            assert trio.current_time() - began < 1.0
        assert named(events, "tool_result")[0]["error"] == "cancelled"
        events = await stage.client.turn()
        assert named(events, "tool_result")[0]["output"] == "Echo: hello"


async def test_an_answer_beyond_the_limit_is_cut_and_kept_whole(
    npm_server: Definition, tmp_path: Path
) -> None:
    root = tmp_path / "shared"
    root.mkdir()
    (root / "long.txt").write_text("line\n" * 2000)
    files = npm_server("filesystem", str(root), roots=[str(root)], output_limit=2000)
    read = Call("filesystem.read_text_file", {"path": str(root / "long.txt")})
    async with connected(script([read], [Say("Done.")]), tmp_path, files) as stage:
        (result,) = named(await stage.client.turn(), "tool_result")
        assert result["truncated"] and len(result["output"]) < 2200, result
        (whole,) = stage.workspace.glob("filesystem-read_text_file-*.txt")
        assert whole.name in result["output"]
        assert whole.read_text() == "line\n" * 2000


@pytest.mark.crash
async def test_u11_an_engine_that_is_killed_takes_its_servers_along(
    npm_server: Definition, tmp_path: Path
) -> None:
    root = catalog(tmp_path, npm_server("everything"))
    async with provider_peer("anthropic", script([LONG], [ECHO], [Say("Done.")])) as peer:
        env = peered(tmp_path, peer, CATALOG_DIR=str(root))
        async with engine_process(env) as doomed, Client(doomed.url) as client:
            await client.post("/assets/connect", {"server_name": "everything"})
            async with client.execute() as stream:
                await stream.until("tool_progress")
                servers = node_pids()
                assert servers
                await doomed.kill()
        await wait_gone(tmp_path)
        await until(lambda: not any(map(psutil.pid_exists, servers)))
        async with engine_process(env) as engine, Client(engine.url) as client:
            events = await client.turn()
            assert named(events, "tool_result")[0]["output"] == "Echo: hello"
