"""Connectors through a real Engine process: a turn that uses one, and secrets that stay inside."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio
from cryptography.fernet import Fernet

from september.http.app import ENDPOINTS
from tests.brain.assets.conftest import STOCK
from tests.brain.assets.oauth_server import consent, protected

from .client import Client, Refused, named
from .harness import KEY, engine_process, settings

PLANTED = "plantedKeyThatNobodyMaySee0123456789"
HEADER = "plantedHeaderThatNobodyMaySee987654"

RULES = """
name = "connectors"
hint = "leak, shout or tell"

[[rule]]
name = "leak"
match = "leak"
step = 0
steps = [ { tool = "leaky.reveal", input = {} } ]

[[rule]]
name = "leaked"
match = "leak"
step = 1
steps = [ { text = "It said: ${result.leaky.reveal|quote}" } ]

[[rule]]
name = "shout"
match = "shout"
step = 0
steps = [ { tool = "protected.shout", input = { text = "hello" } } ]

[[rule]]
name = "shouted"
match = "shout"
step = 1
steps = [ { text = "done" } ]
"""

LEAKY = '''
import os
from mcp.server.mcpserver import MCPServer

server = MCPServer("leaky")


@server.tool()
def reveal() -> str:
    """Tell everything one knows."""
    return " ".join(f"{name}={value}" for name, value in os.environ.items())


@server.tool()
def fail() -> str:
    """Fail with everything one knows."""
    raise ValueError(os.environ["LEAKY_KEY"])


server.run("stdio")
'''


def catalog(folder: Path, *servers: dict[str, object]) -> Path:
    """The stock catalog with these servers."""
    made = folder / "catalog"
    shutil.copytree(STOCK, made)
    shutil.rmtree(made / "servers", ignore_errors=True)
    (made / "servers").mkdir()
    for one in servers:
        (made / "servers" / f"{one['name']}.json").write_text(json.dumps(one))
    return made


def leaky(folder: Path) -> dict[str, object]:
    (folder / "leaky").mkdir()
    (folder / "leaky" / "server.py").write_text(LEAKY)
    return {
        "name": "leaky",
        "transport": "stdio",
        "command": sys.executable,
        "args": [str(folder / "leaky" / "server.py")],
        "readable": [str(folder / "leaky"), sys.prefix, sys.base_prefix],
        "auth_method": "static",
        "key_env": "LEAKY_KEY",
    }


def environment(folder: Path, *servers: dict[str, object]) -> tuple[dict[str, str], str]:
    rules = folder / "rules.toml"
    rules.write_text(RULES)
    key = Fernet.generate_key().decode()
    env = settings(
        folder,
        CATALOG_DIR=str(catalog(folder, *servers)),
        SCRIPTED_RULES=str(rules),
        AD_ENCRYPTION_KEY=key,
        OAUTH_REDIRECT_BASE_URL="http://127.0.0.1:8000",
        ENGINE_LOG_LEVEL="DEBUG",
    )
    return env, key


_OPEN = ("/execute/replay", "/traces/stream", "/actors/stream")  # they stream
_ASKING = ("/assets/oauth/callback", "/traces/why", "/observability/record")  # they want a question
DOORS = [
    one.path
    for one in ENDPOINTS
    if one.method == "GET" and "{" not in one.path and one.path not in (*_OPEN, *_ASKING)
]
"""Everything that can be read of an Engine without naming a thing."""


async def exported(url: str, trace_id: str) -> str:
    """A trace in every form that `september trace export` has."""
    said = ""
    for form in ("otlp", "perfetto", "mermaid"):
        command = [sys.executable, "-m", "september", "trace", "export", trace_id]
        options = ["--url", url, "--key", KEY, "--format", form]
        done = await trio.run_process([*command, *options], capture_stdout=True)
        said += done.stdout.decode()
    return said


def brain_files(folder: Path) -> dict[str, str]:
    """The brain's files, byte for byte."""
    return {file.name: file.read_bytes().decode("latin-1") for file in folder.glob("brain.sqlite*")}


async def test_no_planted_secret_leaves_by_any_door(tmp_path: Path) -> None:
    async with protected() as server:
        env, key = environment(tmp_path, leaky(tmp_path), server.definition())
        async with engine_process(env) as engine, Client(engine.url) as client:
            seen: list[str] = []
            config = {"api_key": PLANTED, "env": {"MORE": HEADER}}
            made = await client.post(
                "/assets/connect", {"server_name": "leaky", "server_config": config}
            )
            assert made["status"] == "connected"
            begun = await client.post("/assets/connect", {"server_name": "protected"})
            code, state = await consent(begun["auth_url"])
            async with httpx2.AsyncClient(base_url=engine.url) as browser:
                back = await browser.get(
                    "/assets/oauth/callback", params={"code": code, "state": state}
                )
            assert back.status_code == 200, back.text
            seen += [json.dumps(made), back.text]
            events = await client.turn("leak")
            events += await client.turn("shout")
            assert [one["error"] for one in named(events, "tool_result")] == [None, None]
            assert "[redacted]" in named(events, "tool_result")[0]["output"]
            server.provider.expire_all()
            events += await client.turn("shout")
            assert server.provider.refreshes == 1
            for action in ("reveal", "fail"):
                body: dict[str, object] = {"method": f"tool.leaky.{action}", "params": {}}
                seen.append((await client.http.post("/rpc", json=body)).text)
            events += await client.replayed(0, task_id="task")
            for path in DOORS:
                answer = await client.http.get(path)
                assert answer.status_code == 200, (path, answer.text)
                seen.append(answer.text)
            traces: Any = await client.get("/traces")
            for one in traces["traces"]:
                seen.append(json.dumps(await client.get(f"/traces/{one['trace_id']}")))
            turns = {one.data["turn_id"] for one in events if one.name == "thread_lifecycle"}
            for turn in turns:
                seen.append(json.dumps(await client.get("/observability/record", of=turn)))
            seen.append(await exported(engine.url, traces["traces"][-1]["trace_id"]))
            seen.append(json.dumps([one.data for one in events]))
            with pytest.raises(Refused) as refused:
                await client.post(
                    "/assets/connect",
                    {"server_name": "leaky", "server_config": {"api_key": PLANTED, "url": "x"}},
                )
            seen.append(refused.value.text)
        seen += engine.log
    secrets = {PLANTED, HEADER, key, code, *server.provider.issued}
    places = {"what was said": "\n".join(seen)}
    places.update(brain_files(tmp_path))
    for place, text in places.items():
        for secret in secrets:
            assert secret not in text, f"{secret[:4]}… is in {place}"


async def test_connectors_are_listed_connected_and_removed_over_http(tmp_path: Path) -> None:
    env, _ = environment(tmp_path, leaky(tmp_path))
    async with engine_process(env) as engine, Client(engine.url) as client:
        (server,) = await client.get("/assets/servers")
        assert server == {
            "server_name": "leaky",
            "display_name": "leaky",
            "transport": "stdio",
            "auth_method": "static",
            "status": "available",
        }
        made = await client.post(
            "/assets/connect", {"server_name": "leaky", "server_config": {"api_key": PLANTED}}
        )
        (shown,) = await client.get("/assets/connections")
        assert (shown["ref_id"], shown["status"]) == (made["ref_id"], "connected")
        async with httpx2.AsyncClient(base_url=engine.url) as stranger:
            assert (await stranger.get("/assets/connections")).status_code == 401
            forged = await stranger.get("/assets/oauth/callback", params={"state": "x"})
            assert forged.status_code == 400
        headers = {"X-Engine-Key": env["ENGINE_API_KEY"]}
        async with httpx2.AsyncClient(base_url=engine.url, headers=headers) as http:
            gone = await http.delete(f"/assets/connections/{made['ref_id']}")
            assert gone.json() == {"ref_id": made["ref_id"], "status": "disconnected"}
            again = await http.delete(f"/assets/connections/{made['ref_id']}")
            assert again.status_code == 404
        assert await client.get("/assets/connections") == []


async def test_an_engine_without_connectors_stays_below_80_mb(tmp_path: Path) -> None:
    async with engine_process(settings(tmp_path)) as engine, Client(engine.url) as client:
        assert (await client.get("/health"))["subsystems"]["asset_directory"] == "ok"
        assert engine.resident_kib() < 80 * 1024
