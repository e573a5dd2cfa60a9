"""Servers that others wrote, over stdio, in the sandbox: connect, call, cancel, kill, reconnect."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import trio

from september.actors import ActorRef
from september.brain.assets.actions import NOBODY, Caller, Content, Progress
from september.brain.assets.connection import (
    CallAction,
    ConnectionMessage,
    GetPrompt,
    ListReadable,
    ReadResource,
)
from september.brain.assets.directory import (
    Connect,
    Connected,
    Disconnect,
    ListActions,
    ListConnections,
    Reach,
)
from september.brain.tree import Engine
from september.errors import SeptemberError

from .conftest import descendants, engine_with, open_descriptors, python_server, until

pytestmark = pytest.mark.usefixtures("no_orphans")

Definition = Callable[..., dict[str, object]]

LONG = "trigger-long-running-operation"


async def connected(engine: Engine, name: str) -> ActorRef[ConnectionMessage]:
    made = await engine.assets.call(Connect(name))
    assert isinstance(made, Connected), made
    assert made.status == "connected"
    return await reach(engine, name)


async def reach(engine: Engine, name: str) -> ActorRef[ConnectionMessage]:
    found = await engine.assets.call(Reach(name))
    assert not isinstance(found, SeptemberError), found
    return found


async def call(
    connection: ActorRef[ConnectionMessage],
    action: str,
    caller: Caller = NOBODY,
    **arguments: object,
) -> Content:
    answer = await connection.call(CallAction(action, arguments, caller))
    assert isinstance(answer, Content), answer
    return answer


async def actions(engine: Engine) -> set[str]:
    return {one.full_name for one in await engine.assets.call(ListActions())}


async def test_everything_is_driven_over_stdio(npm_server: Definition, tmp_path: Path) -> None:
    async with engine_with(tmp_path, npm_server("everything")) as engine:
        server = await connected(engine, "everything")
        assert "everything.echo" in await actions(engine)
        assert (await call(server, "echo", message="hello")).text == "Echo: hello"
        assert "12" in (await call(server, "get-sum", a=5, b=7)).text
        image = await call(server, "get-tiny-image")
        assert image.attachments[0].media_type == "image/png"
        listed = await server.call(ListReadable())
        assert not isinstance(listed, SeptemberError)
        resources, prompts = listed
        assert resources and prompts
        text = await server.call(ReadResource(resources[0].name))
        assert isinstance(text, Content) and text.text
        filled = await server.call(GetPrompt("args-prompt", {"city": "Lima"}))
        assert isinstance(filled, Content) and "Lima" in filled.text


async def test_a_wrong_input_is_the_servers_answer(npm_server: Definition, tmp_path: Path) -> None:
    async with engine_with(tmp_path, npm_server("everything")) as engine:
        server = await connected(engine, "everything")
        assert (await call(server, "get-sum", a="five")).failed
        assert (await call(server, "echo", message="still there")).text == "Echo: still there"


async def test_progress_is_passed_on(npm_server: Definition, tmp_path: Path) -> None:
    seen: list[Progress] = []

    async def note(progress: Progress) -> None:
        seen.append(progress)

    async with engine_with(tmp_path, npm_server("everything")) as engine:
        server = await connected(engine, "everything")
        await call(server, LONG, Caller(on_progress=note), duration=0.3, steps=3)
    assert [one.done for one in seen] == [1, 2, 3]
    assert {one.total for one in seen} == {3}


async def test_a_cancelled_call_leaves_the_connection_usable(
    npm_server: Definition, tmp_path: Path
) -> None:
    async with engine_with(tmp_path, npm_server("everything")) as engine:
        server = await connected(engine, "everything")
        with trio.move_on_after(0.2) as patience:
            await call(server, LONG, duration=60, steps=2)
        assert patience.cancelled_caught
        with trio.fail_after(1):
            assert (await call(server, "echo", message="next")).text == "Echo: next"


def node_processes() -> list[psutil.Process]:
    return [one for one in map(psutil.Process, descendants()) if one.name() == "node"]


async def test_u11_kill_9_in_mid_call_fails_within_a_second_and_the_next_call_works(
    npm_server: Definition, tmp_path: Path
) -> None:
    async with engine_with(tmp_path, npm_server("everything")) as engine:
        server = await connected(engine, "everything")
        async with trio.open_nursery() as nursery:

            async def kill() -> None:
                await trio.sleep(0.3)
                for one in node_processes():
                    os.kill(one.pid, signal.SIGKILL)

            nursery.start_soon(kill)
            with trio.fail_after(1.3):
                answer = await server.call(CallAction(LONG, {"duration": 60, "steps": 2}))
        assert isinstance(answer, SeptemberError)
        assert answer.code == "MCP_CONNECTION_FAILED"
        await until(lambda: len(node_processes()) == 1)
        with trio.fail_after(5):
            while True:
                answer = await server.call(CallAction("echo", {"message": "back"}))
                if isinstance(answer, Content):
                    break
        assert answer.text == "Echo: back"


async def test_u11_a_mute_server_fails_its_call_at_the_timeout_and_is_replaced(
    npm_server: Definition, tmp_path: Path
) -> None:
    mute = npm_server("everything", timeout_s=0.5, connect_timeout_s=10)
    async with engine_with(tmp_path, mute) as engine:
        server = await connected(engine, "everything")
        (old,) = node_processes()
        old.suspend()
        with trio.fail_after(1.4):
            answer = await server.call(CallAction("echo", {"message": "anyone?"}))
        assert isinstance(answer, SeptemberError)
        assert "silent" in answer.message
        await until(lambda: not old.is_running())
        with trio.fail_after(5):
            while not isinstance(answer, Content):
                answer = await server.call(CallAction("echo", {"message": "back"}))
        assert answer.text == "Echo: back"


async def test_an_idle_server_that_dies_is_started_again(
    npm_server: Definition, tmp_path: Path
) -> None:
    async with engine_with(tmp_path, npm_server("everything")) as engine:
        server = await connected(engine, "everything")
        (old,) = node_processes()
        old.kill()
        await until(lambda: [one.pid for one in node_processes()] not in ([], [old.pid]))
        await until(lambda: len(node_processes()) == 1)
        with trio.fail_after(5):
            answer: Content | SeptemberError | None = None
            while not isinstance(answer, Content):
                answer = await server.call(CallAction("echo", {"message": "back"}))


async def test_u11_100_times_connecting_and_disconnecting_leaves_nothing_behind(
    npm_server: Definition, tmp_path: Path
) -> None:
    servers = [{**npm_server("memory"), "name": f"memory-{number}"} for number in range(10)]
    async with engine_with(tmp_path, *servers) as engine:
        await _cycle(engine, *servers)
        descriptors, running = open_descriptors(), descendants()
        for _ in range(10):
            await _cycle(engine, *servers)
        await until(lambda: descendants() == running)
        assert open_descriptors() == descriptors
        assert await engine.assets.call(ListConnections()) == ()


async def _cycle(engine: Engine, *servers: dict[str, object]) -> None:
    """Connect and disconnect all of them, at the same time."""

    async def one(name: str) -> None:
        made = await engine.assets.call(Connect(name))
        assert isinstance(made, Connected) and made.status == "connected", made
        assert await engine.assets.call(Disconnect(made.ref_id)) is None

    async with trio.open_nursery() as nursery:
        for server in servers:
            nursery.start_soon(one, str(server["name"]))


async def test_the_filesystem_server_reads_and_writes_its_root_and_nothing_else(
    npm_server: Definition, tmp_path: Path
) -> None:
    root = tmp_path / "shared"
    root.mkdir()
    (root / "note.txt").write_text("from outside")
    definition = npm_server("filesystem", str(root), roots=[str(root)])
    async with engine_with(tmp_path, definition) as engine:
        server = await connected(engine, "filesystem")
        assert (await call(server, "read_text_file", path=str(root / "note.txt"))).text == (
            "from outside"
        )
        await call(server, "write_file", path=str(root / "new.txt"), content="from inside")
        assert (root / "new.txt").read_text() == "from inside"
        outside = await call(server, "read_text_file", path=str(tmp_path / "brain.sqlite"))
        assert outside.failed
        asking = {one.name for one in await engine.assets.call(ListActions())
                  if one.requires_permission}  # fmt: skip
        assert "write_file" in asking
        assert "read_text_file" not in asking


async def test_the_memory_server_remembers_across_a_reconnect(
    npm_server: Definition, tmp_path: Path
) -> None:
    definition = npm_server("memory")
    async with engine_with(tmp_path, definition) as engine:
        folder = engine.config.workspace_root.parent / "connectors" / "memory"
        config: dict[str, object] = {"env": {"MEMORY_FILE_PATH": str(folder / "graph.jsonl")}}
        refused = await engine.assets.call(Connect("memory", config))
        assert isinstance(refused, SeptemberError)
        assert "AD_ENCRYPTION_KEY" in refused.message
    from cryptography.fernet import Fernet

    key = Fernet.generate_key().decode()
    async with engine_with(tmp_path, AD_ENCRYPTION_KEY=key) as engine:
        made = await engine.assets.call(Connect("memory", config))
        assert isinstance(made, Connected), made
        entity = {"name": "Ada", "entityType": "person", "observations": ["likes engines"]}
        await call(await reach(engine, "memory"), "create_entities", entities=[entity])
    async with engine_with(tmp_path, AD_ENCRYPTION_KEY=key) as engine:
        answer: Content | SeptemberError | None = None
        with trio.fail_after(10):
            while not isinstance(answer, Content):
                server = await reach(engine, "memory")
                answer = await server.call(CallAction("search_nodes", {"query": "engines"}))
        assert "Ada" in answer.text


async def test_the_git_and_time_servers_of_pypi(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    for command in (
        ("git", "init", "-q", str(repository)),
        ("git", "-C", str(repository), "config", "user.email", "a@b.c"),
        ("git", "-C", str(repository), "config", "user.name", "A"),
        ("git", "-C", str(repository), "commit", "-q", "--allow-empty", "-m", "the first"),
    ):
        await trio.run_process(command)
    git = python_server("git", "mcp_server_git", roots=[str(repository)])
    async with engine_with(tmp_path, git, python_server("time", "mcp_server_time")) as engine:
        log = await call(await connected(engine, "git"), "git_log", repo_path=str(repository))
        assert "the first" in log.text
        zone = await call(
            await connected(engine, "time"), "get_current_time", timezone="Europe/Oslo"
        )
        assert "Europe/Oslo" in zone.text


async def test_a_command_that_does_not_exist_says_so(tmp_path: Path) -> None:
    nothing: dict[str, object] = {
        "name": "nothing",
        "transport": "stdio",
        "command": "no-such-command",
    }
    async with engine_with(tmp_path, nothing) as engine:
        refused = await engine.assets.call(Connect("nothing"))
        assert isinstance(refused, SeptemberError)
        assert refused.code == "MCP_CONNECTION_FAILED"
        assert "not found" in refused.message
