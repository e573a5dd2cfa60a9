"""The peers themselves: the bare SDKs understand them, and they refuse what the services refuse."""

import json
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest
import trio
from google import genai

from tests.e2e.waiting import until_told
from tests.peers import (
    KEY,
    Call,
    Cut,
    Peer,
    RateLimit,
    Say,
    Stall,
    Think,
    Wait,
    anthropic_peer,
    dumps,
    gemini_peer,
    loads,
    openai_peer,
    provider_peer,
    script,
)
from tests.peers.adapters import PROVIDERS

each = pytest.mark.parametrize("name", PROVIDERS)
Json = dict[str, Any]

REPLY = [Think("hm"), Say("Hello, Wörld!"), Call("clock", {"zone": "CET"})]


async def test_the_anthropic_sdk_reads_the_anthropic_peer() -> None:
    async with anthropic_peer(script(REPLY)) as peer, httpx2.AsyncClient() as http:
        client = anthropic.AsyncAnthropic(
            api_key=peer.key, base_url=peer.base_url, http_client=http, max_retries=0
        )
        async with client.messages.stream(
            model="claude-sonnet-5",
            max_tokens=100,
            messages=[{"role": "user", "content": "hi"}],
        ) as stream:
            message = await stream.get_final_message()
    thinking, text, call = message.content
    assert thinking.type == "thinking"
    assert thinking.thinking == "hm"
    assert text.type == "text"
    assert text.text == "Hello, Wörld!"
    assert call.type == "tool_use"
    assert call.input == {"zone": "CET"}
    assert message.stop_reason == "tool_use"
    assert message.usage.output_tokens > 1


# The bare SDK drops its generators at [DONE]; see brain/herald/sse.py.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_the_openai_sdk_reads_the_openai_peer() -> None:
    async with openai_peer(script(REPLY)) as peer, httpx2.AsyncClient() as http:
        client = openai.AsyncOpenAI(
            api_key=peer.key, base_url=peer.base_url, http_client=http, max_retries=0
        )
        async with client.chat.completions.stream(
            model="gpt-6",
            messages=[{"role": "user", "content": "hi"}],
            stream_options={"include_usage": True},
        ) as stream:
            completion = await stream.get_final_completion()
    message = completion.choices[0].message
    assert message.content == "Hello, Wörld!"
    assert message.tool_calls is not None
    assert message.tool_calls[0].function.arguments == '{"zone":"CET"}'
    assert completion.choices[0].finish_reason == "tool_calls"
    assert completion.usage is not None


async def test_the_gemini_sdk_reads_the_gemini_peer() -> None:
    async with gemini_peer(script(REPLY)) as peer, httpx2.AsyncClient() as http:
        options = genai.types.HttpOptions(base_url=peer.base_url, httpx_async_client=http)
        client = genai.Client(api_key=peer.key, http_options=options)
        models: Any = client.aio.models  # the SDK's own types are partly unknown
        chunks: list[genai.types.GenerateContentResponse] = [
            chunk
            async for chunk in await models.generate_content_stream(
                model="gemini-3.8-flash", contents="hi"
            )
        ]
    parts = [
        part
        for chunk in chunks
        for candidate in chunk.candidates or ()
        for part in (candidate.content and candidate.content.parts) or ()
    ]
    assert "".join(part.text or "" for part in parts if not part.thought) == "Hello, Wörld!"
    (call,) = [part.function_call for part in parts if part.function_call]
    assert call.args == {"zone": "CET"}
    last = chunks[-1].candidates
    assert last is not None
    assert last[0].finish_reason == genai.types.FinishReason.STOP


# --- what is refused --------------------------------------------------------------------------


@asynccontextmanager
async def raw(peer: Peer) -> AsyncGenerator[httpx2.AsyncClient]:
    headers = {
        "authorization": f"Bearer {peer.key}",
        "x-goog-api-key": peer.key,
        "anthropic-version": "2023-06-01",
    }
    root = f"http://127.0.0.1:{peer.port}"
    async with httpx2.AsyncClient(base_url=root, headers=headers) as client:
        yield client


PATHS = {
    "anthropic": "/v1/messages",
    "openai": "/v1/chat/completions",
    "gemini": "/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse",
}


async def refusal(client: httpx2.AsyncClient, name: str, body: Json) -> str:
    """The words with which the peer refuses a body; empty when it does not."""
    response = await client.post(PATHS[name], json=body)
    if response.status_code == 200:
        return ""
    assert response.status_code == 400
    return str(response.json()["error"]["message"])


def anthropic_body(*messages: Json, **fields: Any) -> Json:
    head: Json = {"model": "claude-opus-4-5", "max_tokens": 2000, "stream": True}
    return {**head, "messages": list(messages), **fields}


def says(role: str, *content: Any) -> Json:
    blocks = [{"type": "text", "text": item} if isinstance(item, str) else item for item in content]
    return {"role": role, "content": blocks}


USE: Json = {"type": "tool_use", "id": "t1", "name": "clock", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "noon"}
ASKS, USES, ANSWERS = says("user", "a"), says("assistant", USE), says("user", RESULT)
NO_THOUGHT = {"type": "thinking", "thinking": "x", "signature": "made up"}
TOOL = {"name": "clock", "input_schema": {"type": "object"}}
ANY_TOOL: Json = {"name": "clock", "input_schema": {"type": "object", "anyOf": [{}]}}
THINKING = {"type": "enabled", "budget_tokens": 1024}
MARKED = {"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}

ANTHROPIC: list[tuple[Json, str]] = [
    (anthropic_body(ASKS), ""),
    (anthropic_body(ASKS, USES, ANSWERS, tools=[TOOL]), ""),
    (anthropic_body(ASKS, says("user", "b"), USES, ANSWERS, tools=[TOOL]), ""),
    (anthropic_body(ASKS, USES, ANSWERS), "must define tools"),
    (anthropic_body(ASKS, tools=[ANY_TOOL]), "at the top level"),
    ({"model": "m", "messages": [ASKS], "stream": True}, "max_tokens: Field required"),
    (anthropic_body(), "at least one message"),
    (anthropic_body(USES, ANSWERS), "first message must use"),
    (anthropic_body(ASKS, USES), "without `tool_result`"),
    (anthropic_body(ASKS, USES, says("user", "b")), "without `tool_result`"),
    (anthropic_body(ASKS, USES, says("user", "b", RESULT)), "without `tool_result`"),
    (anthropic_body(ASKS, ANSWERS), "unexpected `tool_use_id`"),
    (anthropic_body(ASKS, USES, says("user", RESULT, RESULT)), "single result"),
    (anthropic_body(ASKS, USES, ANSWERS, USES, ANSWERS, tools=[TOOL]), "must be unique"),
    (anthropic_body(ASKS, says("assistant", {**USE, "name": "a.b"}), ANSWERS), "bad pattern"),
    (anthropic_body(ASKS, says("assistant", {**USE, "id": "a.b"}), ANSWERS), "bad pattern"),
    (anthropic_body(says("user", "")), "non-empty"),
    (anthropic_body(says("user", " ")), "non-whitespace"),
    (anthropic_body(ASKS, says("assistant"), ASKS), "non-empty content"),
    (anthropic_body(ASKS, says("assistant", NO_THOUGHT, "b"), ASKS), "Invalid `signature`"),
    (anthropic_body(says("user", USE)), "not permitted"),
    (anthropic_body(ASKS, tools=[{**TOOL, "name": "a.b"}]), "should match pattern"),
    (anthropic_body(ASKS, tools=[TOOL, TOOL]), "must be unique"),
    (anthropic_body(ASKS, system=[MARKED] * 5), "maximum of 4"),
    (anthropic_body(ASKS, thinking={**THINKING, "budget_tokens": 2000}), "must be greater"),
    (
        anthropic_body(ASKS, USES, ANSWERS, tools=[TOOL], thinking=THINKING),
        "must start with a thinking block",
    ),
    (anthropic_body(ASKS, says("assistant", "b"), model="claude-opus-5"), "prefill"),
    (anthropic_body(ASKS, nonsense=1), "Extra inputs"),
    (anthropic_body({"role": "user"}), "malformed"),
]


def openai_body(*messages: Json, **fields: Any) -> Json:
    return {"model": "gpt-6", "stream": True, "messages": list(messages), **fields}


def called(call_id: str, name: str = "clock", arguments: str = "{}") -> Json:
    function = {"name": name, "arguments": arguments}
    call = {"id": call_id, "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def answered(call_id: str) -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": "noon"}


ANY_FUNCTION: Json = {"function": {"name": "f", "parameters": {"type": "object", "anyOf": [{}]}}}
HI = {"role": "user", "content": "hi"}
OPENAI: list[tuple[Json, str]] = [
    (openai_body(HI), ""),
    (openai_body(HI, called("c"), answered("c"), HI), ""),
    (openai_body(), "Missing required parameter"),
    (openai_body(HI, called("c")), "did not have response messages"),
    (openai_body(HI, called("c"), HI, answered("c")), "did not have response messages"),
    (openai_body(HI, answered("c")), "must be a response to a preceeding message"),
    (openai_body(HI, called("c"), answered("c"), answered("c")), "must be a response"),
    (openai_body(HI, called("c" * 41), answered("c" * 41)), "string too long"),
    (openai_body(HI, called("c", "a.b"), answered("c")), "does not match pattern"),
    (openai_body(HI, called("c", arguments="{"), answered("c")), "not JSON"),
    (openai_body(HI, {"role": "assistant", "content": None}), "got null"),
    (openai_body({"role": "user", "content": ""}), "empty"),
    (openai_body({"role": "robot", "content": "x"}), "Invalid value"),
    (openai_body(HI, tools=[]), "too short"),
    (openai_body(HI, tools=[ANY_FUNCTION]), "at the top level"),
    (openai_body(HI, nonsense=1), "Unrecognized request argument"),
]


def gemini_body(*contents: Json, **fields: Any) -> Json:
    return {"contents": list(contents), **fields}


def content(role: str, *parts: Any) -> Json:
    whole = [{"text": part} if isinstance(part, str) else part for part in parts]
    return {"role": role, "parts": whole}


def declared(parameters: Json) -> list[Json]:
    return [{"functionDeclarations": [{"name": "f", "parameters": parameters}]}]


SIGNED: Json = {
    "functionCall": {"name": "clock", "args": {}},
    "thoughtSignature": "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=",
}
UNSIGNED: Json = {"functionCall": {"name": "clock", "args": {}}}
RESPONSE = {"functionResponse": {"name": "clock", "response": {"output": "noon"}}}
OTHER: Json = {"functionResponse": {"name": "other", "response": {}}}
G_ASKS = content("user", "a")
OBJECT = {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}
GEMINI: list[tuple[Json, str]] = [
    (gemini_body(G_ASKS), ""),
    (gemini_body(G_ASKS, content("model", SIGNED), content("user", RESPONSE)), ""),
    (gemini_body(), "not specified"),
    (gemini_body(content("assistant", "a")), "valid role"),
    (gemini_body(content("user")), "must not be empty"),
    (gemini_body(content("user", "")), "empty text"),
    (gemini_body(G_ASKS, content("model", SIGNED), G_ASKS), "is equal to the number"),
    (gemini_body(G_ASKS, content("user", RESPONSE)), "is equal to the number"),
    (gemini_body(G_ASKS, content("model", SIGNED), content("user", OTHER)), "do not match"),
    (gemini_body(G_ASKS, content("model", "b"), content("model", SIGNED)), "end as user"),
    (
        gemini_body(
            G_ASKS, content("model", "b"), content("model", SIGNED), content("user", RESPONSE)
        ),
        "immediately after a user turn",
    ),
    (
        gemini_body(G_ASKS, content("model", UNSIGNED), content("user", RESPONSE)),
        "missing a thought_signature",
    ),
    (
        gemini_body(G_ASKS, content("model", {**SIGNED, "thoughtSignature": "AAAA"}), G_ASKS),
        "valid",
    ),
    (
        gemini_body(G_ASKS, tools=declared({**OBJECT, "additionalProperties": False})),
        "Unknown name",
    ),
    (gemini_body(G_ASKS, tools=declared({**OBJECT, "type": "object"})), "unknown type"),
    (gemini_body(G_ASKS, tools=declared({"type": "OBJECT"})), "non-empty"),
    (gemini_body(G_ASKS, nonsense=1), "Unknown name"),
]
TABLES = {"anthropic": ANTHROPIC, "openai": OPENAI, "gemini": GEMINI}


@each
async def test_what_the_service_refuses_the_peer_refuses(name: str) -> None:
    played = script(Say("ok"), repeat=True)
    async with provider_peer(name, played) as peer, raw(peer) as client:
        reasons = [await refusal(client, name, body) for body, _ in TABLES[name]]
    for (body, words), reason in zip(TABLES[name], reasons, strict=True):
        assert (words in reason) if words else reason == "", (words, reason, json.dumps(body))


@each
async def test_a_wrong_key_and_a_wrong_path_are_refused(name: str) -> None:
    async with provider_peer(name, script(Say("ok"))) as peer, raw(peer) as client:
        wrong = {"authorization": "Bearer x", "x-goog-api-key": "x"}
        bodies = {"anthropic": ANTHROPIC, "openai": OPENAI, "gemini": GEMINI}
        response = await client.post(PATHS[name], json=bodies[name][0][0], headers=wrong)
        assert response.status_code == (400 if name == "gemini" else 401)
        response = await client.post("/v1/nowhere", json={})
        assert response.status_code == 404


@each
async def test_a_peer_says_so_when_its_script_is_over(name: str) -> None:
    async with provider_peer(name, script()) as peer, raw(peer) as client:
        response = await client.post(PATHS[name], json=TABLES[name][0][0])
        assert response.status_code == 400
        assert "script is over" in response.text


def test_a_script_survives_the_way_to_another_process() -> None:
    whole = script(REPLY, RateLimit(2.0, "ms"), [Say("x"), Cut(3)], [Wait("g"), Stall()], chunk=3)
    assert loads(dumps(whole)) == whole


@each
async def test_a_peer_runs_as_a_process_of_its_own(name: str, tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_bytes(dumps(script([Say("one"), Wait("gate"), Say("two")])))
    server = Path(__file__).parents[2] / "peers" / "serve.py"
    command = [sys.executable, str(server), name, str(path)]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = await process.stdout.receive_some(200)
        url = httpx2.URL(bytes(line).decode().strip())
        headers = {
            "authorization": f"Bearer {KEY}",
            "x-goog-api-key": KEY,
            "anthropic-version": "2023-06-01",
        }
        root = f"http://127.0.0.1:{url.port}"
        async with httpx2.AsyncClient(base_url=root, headers=headers) as client:
            async with trio.open_nursery() as nursery:
                answers: list[str] = []

                async def call() -> None:
                    response = await client.post(PATHS[name], json=TABLES[name][0][0])
                    answers.append(response.text)

                nursery.start_soon(call)
                await client.post("/_peer/release/gate")
            assert "one" in answers[0]
            assert "two" in answers[0]

            async def closed() -> bool:
                noted = (await client.get("/_peer/requests")).json()["requests"]
                return [request["closed_by"] for request in noted] == ["peer"]

            await until_told(closed)
    finally:
        process.kill()
        await process.wait()
        if process.stdout is not None:
            await process.stdout.aclose()
