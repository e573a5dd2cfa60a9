"""OAuth over HTTP, against a provider of the SDK's: kills in mid flow, races, outages, refusals."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio
from cryptography.fernet import Fernet

from tests.brain.assets.oauth_server import Protected, Provider, consent, protected

from .client import Client, Refused
from .harness import engine_process
from .served import served
from .test_assets import environment
from .waiting import until_told

SHOUT = {"method": "tool.protected.shout", "params": {"text": "hello"}}


async def shout(client: Client) -> str:
    output: str = (await client.post("/rpc", SHOUT))["result"]["output"]
    return output


async def refusal(client: Client) -> Refused:
    with pytest.raises(Refused) as refused:
        await shout(client)
    return refused.value


async def begin(client: Client) -> tuple[str, str]:
    """Begin, and consent: the code and the state that the person comes back with."""
    begun = await client.post("/assets/connect", {"server_name": "protected"})
    assert begun["status"] == "pending_oauth"
    return await consent(begun["auth_url"])


async def come_back(client: Client, code: str, state: str) -> Any:
    """The person's browser has no key."""
    async with httpx2.AsyncClient(base_url=str(client.http.base_url), timeout=30) as browser:
        answer = await browser.get("/assets/oauth/callback", params={"code": code, "state": state})
    return answer


@asynccontextmanager
async def connected(
    folder: Path, provider: Provider | None = None
) -> AsyncGenerator[tuple[Client, Protected]]:
    async with protected(provider) as server:
        env, _ = environment(folder, server.definition())
        async with served(env) as engine:
            answer = await come_back(engine.client, *await begin(engine.client))
            assert answer.json()["status"] == "connected", answer.text
            yield engine.client, server


async def test_u10_fifty_calls_at_once_renew_a_rotating_token_once(tmp_path: Path) -> None:
    async with connected(tmp_path, Provider(delay_s=0.1)) as (client, server):
        server.provider.expire_all()
        answers: list[str] = []

        async def one() -> None:
            answers.append(await shout(client))

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(one)
        assert answers == ["HELLO"] * 50
        assert (server.provider.refreshes, server.provider.reused) == (1, 0)


async def test_u10_an_outage_is_502_and_passes(tmp_path: Path) -> None:
    async with connected(tmp_path) as (client, server):
        server.provider.expire_all()
        server.provider.outage = 503
        refused = await refusal(client)
        assert (refused.status, refused.error) == (502, "MCP_CONNECTION_FAILED")
        server.provider.outage = 0

        async def mended() -> bool:
            try:
                return await shout(client) == "HELLO"
            except Refused as again:
                assert again.error == "MCP_CONNECTION_FAILED"
                return False

        await until_told(mended, within=20)
        assert server.provider.reused == 0


async def test_a_credential_that_was_withdrawn_is_401_until_a_person_connects_again(
    tmp_path: Path,
) -> None:
    async with connected(tmp_path) as (client, server):
        server.provider.expire_all()
        server.provider.refresh.clear()

        async def expired() -> bool:
            return (await refusal(client)).error == "MCP_TOKEN_EXPIRED"

        await until_told(expired)
        refused = await refusal(client)
        assert refused.status == 401 and "/assets/connect" in refused.body["message"]
        (shown,) = await client.get("/assets/connections")
        assert shown["status"] == "expired"
        await come_back(client, *await begin(client))
        assert await shout(client) == "HELLO"


async def test_an_engine_killed_in_mid_flow_goes_on_with_it(tmp_path: Path) -> None:
    async with protected() as server:
        env, key = environment(tmp_path, server.definition())
        async with engine_process(env) as doomed, Client(doomed.url) as client:
            code, state = await begin(client)
            await doomed.kill()
        async with engine_process(env) as engine, Client(engine.url) as client:
            answer = await come_back(client, code, state)
            assert answer.json()["status"] == "connected", answer.text
            used = await come_back(client, code, state)
            assert used.status_code == 400
            assert await shout(client) == "HELLO"
            await engine.kill()
        server.provider.expire_all()
        wrong = {**env, "AD_ENCRYPTION_KEY": Fernet.generate_key().decode()}
        async with engine_process(wrong) as engine, Client(engine.url) as client:
            refused = await refusal(client)
            assert (refused.status, refused.error) == (401, "MCP_TOKEN_EXPIRED")
            assert "AD_ENCRYPTION_KEY" in refused.body["message"]
            assert (await client.get("/health"))["status"] == "degraded"
        newer = {**env, "AD_ENCRYPTION_KEY": f"{Fernet.generate_key().decode()},{key}"}
        async with engine_process(newer) as engine, Client(engine.url) as client:
            assert await shout(client) == "HELLO"
        assert (server.provider.refreshes, server.provider.reused) == (1, 0)
