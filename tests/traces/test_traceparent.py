"""The trace goes on outside: providers and MCP servers are told which span asks them."""

import json
import sys
from pathlib import Path

import pytest
import trio

from september.brain.assets.actions import NOBODY, Content
from september.brain.assets.connection import CallAction
from september.brain.assets.directory import Connect, Reach
from september.errors import SeptemberError
from tests.brain.assets.conftest import engine_with
from tests.brain.raven.stage import recorded
from tests.e2e.harness import pointed
from tests.peers import Say, provider_peer, script
from tests.peers.adapters import PROVIDERS

OURS = "ab" * 16
HEADER = {"traceparent": f"00-{OURS}-{'cd' * 8}-01"}

ECHO = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    params = asked.get("params", {})
    match asked["method"]:
        case "initialize":
            info = {"name": "echo", "version": "1"}
            result = {"protocolVersion": params["protocolVersion"], "serverInfo": info,
                      "capabilities": {"tools": {}}}
        case "tools/list":
            result = {"tools": [{"name": "meta", "inputSchema": {"type": "object"}}]}
        case "tools/call":
            result = {"content": [{"type": "text", "text": json.dumps(params["_meta"])}]}
        case _:
            error = {"code": -32601, "message": "no such method"}
            print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": error}), flush=True)
            continue
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_provider_is_told_the_span_of_its_attempt(provider: str, tmp_path: Path) -> None:
    async with provider_peer(provider, script(Say("Hello."))) as peer:
        more = pointed(tmp_path, provider, peer.base_url, peer.key)
        async with recorded(tmp_path, **more) as stage:
            body = {"task_id": "task", "message": "go"}
            await stage.http.post("/execute", json=body, headers=HEADER)
            lines = (await stage.get(f"/traces/{OURS}"))["lines"]
        headers = {name.lower(): value for name, value in peer.requests[0].headers.items()}
    _, trace_id, span_id, _ = headers["traceparent"].split("-")
    asked = {line["row"]["span_id"]: line["row"]["path"] for line in lines}
    assert trace_id == OURS
    assert asked[span_id] == f"attempt {provider}"


async def test_an_mcp_server_is_told_the_span_of_the_call(tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(ECHO)
    server: dict[str, object] = {
        "name": "echo",
        "transport": "stdio",
        "command": sys.executable,
        "args": [str(tmp_path / "echo.py")],
        "readable": [str(tmp_path), *sorted({sys.prefix, sys.base_prefix})],
    }
    async with engine_with(tmp_path, server) as engine:
        await engine.assets.call(Connect("echo"))
        connection = await engine.assets.call(Reach("echo"))
        assert not isinstance(connection, SeptemberError), connection
        trace = engine.tree.trace
        assert trace is not None
        with trio.fail_after(20), trace.span("POST /ask", traceparent=HEADER["traceparent"]):
            answer = await connection.call(CallAction("meta", {}, NOBODY))
    assert isinstance(answer, Content), answer
    assert json.loads(answer.text)["traceparent"].split("-")[1] == OURS
