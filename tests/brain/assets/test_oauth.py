"""OAuth against a provider made of the SDK's server parts: the flow, renewal, races, outages."""

from pathlib import Path

import pytest
import trio
from cryptography.fernet import Fernet

from september.actors import ActorRef
from september.brain.assets.actions import Content
from september.brain.assets.connection import CallAction, ConnectionMessage
from september.brain.assets.directory import (
    CompleteOauth,
    Connect,
    Connected,
    Disconnect,
    ListConnections,
    Reach,
)
from september.brain.assets.keeper import GetAccess, KeeperMessage
from september.brain.tree import Engine
from september.config import Secret
from september.errors import SeptemberError

from .conftest import engine_with, until
from .oauth_server import Provider, consent, protected

KEY = Fernet.generate_key().decode()
SETTINGS = {"AD_ENCRYPTION_KEY": KEY, "OAUTH_REDIRECT_BASE_URL": "http://127.0.0.1:8000"}


async def begin(engine: Engine) -> Connected:
    begun = await engine.assets.call(Connect("protected"))
    assert isinstance(begun, Connected), begun
    assert begun.status == "pending_oauth"
    assert begun.auth_url is not None
    return begun


async def connect(engine: Engine) -> str:
    begun = await begin(engine)
    code, state = await consent(begun.auth_url or "")
    done = await engine.assets.call(CompleteOauth(state, code))
    assert isinstance(done, Connected), done
    assert done.status == "connected"
    return done.ref_id


async def connection_of(engine: Engine) -> ActorRef[ConnectionMessage]:
    found = await engine.assets.call(Reach("protected"))
    assert not isinstance(found, SeptemberError), found
    return found


async def shout(engine: Engine, text: str = "hello") -> Content | SeptemberError:
    return await (await connection_of(engine)).call(CallAction("shout", {"text": text}))


def keeper_of(engine: Engine, ref_id: str) -> ActorRef[KeeperMessage]:
    from september.brain.assets.keeper import Keeper

    return engine.tree.ref(f"engine/assets/keepers/{ref_id}", Keeper)


async def test_the_whole_flow_from_discovery_to_revocation(tmp_path: Path) -> None:
    async with (
        protected() as server,
        engine_with(tmp_path, server.definition(), **SETTINGS) as engine,
    ):
        ref_id = await connect(engine)
        answer = await shout(engine)
        assert isinstance(answer, Content)
        assert answer.text == "HELLO"
        (shown,) = await engine.assets.call(ListConnections())
        assert shown.status == "connected"
        assert shown.scopes == ("tools",)
        assert shown.expires_at is not None
        assert await engine.assets.call(Disconnect(ref_id)) is None
        assert set(server.provider.revoked) <= set(server.provider.issued)
        assert server.provider.revoked
        assert server.provider.access == {}


async def test_a_state_is_good_once_and_only_ours(tmp_path: Path) -> None:
    async with (
        protected() as server,
        engine_with(tmp_path, server.definition(), **SETTINGS) as engine,
    ):
        begun = await begin(engine)
        code, state = await consent(begun.auth_url or "")
        forged = await engine.assets.call(CompleteOauth("forged", code))
        assert isinstance(forged, SeptemberError) and forged.code == "INVALID_REQUEST"
        mixed_up = await engine.assets.call(
            CompleteOauth(state, code, issuer="https://evil.example")
        )
        assert isinstance(mixed_up, SeptemberError) and "iss" in mixed_up.message
        again = await engine.assets.call(CompleteOauth(state, code))
        assert isinstance(again, SeptemberError), "a state is used up by its first callback"


async def test_a_token_that_is_refused_is_renewed_behind_the_call(tmp_path: Path) -> None:
    async with (
        protected() as server,
        engine_with(tmp_path, server.definition(), **SETTINGS) as engine,
    ):
        await connect(engine)
        server.provider.expire_all()
        answer = await shout(engine)
        assert isinstance(answer, Content), answer
        assert answer.text == "HELLO"
        assert server.provider.refreshes == 1


async def test_a_token_is_renewed_before_it_ends(tmp_path: Path) -> None:
    async with (
        protected(Provider(lifetime_s=6)) as server,
        engine_with(tmp_path, server.definition(), **SETTINGS) as engine,
    ):
        await connect(engine)
        await until(lambda: server.provider.refreshes > 0, within=5)


async def test_fifty_calls_at_once_renew_once_and_lose_nothing(tmp_path: Path) -> None:
    async with (
        protected(Provider(delay_s=0.1)) as server,
        engine_with(tmp_path, server.definition(), **SETTINGS) as engine,
    ):
        ref_id = await connect(engine)
        for turn in range(1, 6):
            server.provider.expire_all()
            answers: list[Content | SeptemberError] = []

            async def one(into: list[Content | SeptemberError]) -> None:
                into.append(await shout(engine))

            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(one, answers)
            assert [a for a in answers if not isinstance(a, Content)] == []
            assert server.provider.refreshes == turn
        assert server.provider.reused == 0
        held = await keeper_of(engine, ref_id).call(GetAccess())
        assert isinstance(held, Secret)
        assert held.reveal() in server.provider.access


async def test_a_caller_that_gives_up_does_not_lose_the_rotated_token(tmp_path: Path) -> None:
    async with (
        protected(Provider(delay_s=0.3)) as server,
        engine_with(tmp_path, server.definition(), **SETTINGS) as engine,
    ):
        ref_id = await connect(engine)
        keeper = keeper_of(engine, ref_id)
        stale = await keeper.call(GetAccess())
        assert isinstance(stale, Secret)
        with trio.move_on_after(0.1) as patience:
            await keeper.call(GetAccess(stale))
        assert patience.cancelled_caught
        fresh = await keeper.call(GetAccess(stale))
        assert isinstance(fresh, Secret) and fresh != stale
        assert (server.provider.refreshes, server.provider.reused) == (1, 0)


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_an_outage_of_the_provider_keeps_the_credential(tmp_path: Path, status: int) -> None:
    async with (
        protected() as server,
        engine_with(tmp_path, server.definition(), **SETTINGS) as engine,
    ):
        ref_id = await connect(engine)
        keeper = keeper_of(engine, ref_id)
        stale = await keeper.call(GetAccess())
        assert isinstance(stale, Secret)
        server.provider.outage = status
        refused = await keeper.call(GetAccess(stale))
        assert isinstance(refused, SeptemberError)
        assert refused.code == "MCP_CONNECTION_FAILED"
        server.provider.outage = 0
        with trio.fail_after(10):
            while not isinstance(fresh := await keeper.call(GetAccess(stale)), Secret):  # noqa: ASYNC110
                await trio.sleep(0.1)
        assert fresh != stale
        (shown,) = await engine.assets.call(ListConnections())
        assert shown.status == "connected"


async def test_an_invalid_grant_ends_the_credential_and_a_new_consent_mends_it(
    tmp_path: Path,
) -> None:
    async with (
        protected() as server,
        engine_with(tmp_path, server.definition(), **SETTINGS) as engine,
    ):
        await connect(engine)
        server.provider.expire_all()
        server.provider.refresh.clear()
        refused = await shout(engine)
        assert isinstance(refused, SeptemberError)
        await until_status(engine, "expired")
        refused = await shout(engine)
        assert isinstance(refused, SeptemberError)
        assert refused.code == "MCP_TOKEN_EXPIRED"
        await connect(engine)
        assert isinstance(await shout(engine), Content)


async def statuses(engine: Engine) -> list[str]:
    return [one.status for one in await engine.assets.call(ListConnections())]


async def until_status(engine: Engine, wanted: str) -> None:
    with trio.fail_after(5):
        while await statuses(engine) != [wanted]:  # noqa: ASYNC110  it is asked for, not told
            await trio.sleep(0.02)


async def test_a_restart_in_the_middle_of_the_flow_loses_nothing(tmp_path: Path) -> None:
    async with protected() as server:
        async with engine_with(tmp_path, server.definition(), **SETTINGS) as engine:
            begun = await begin(engine)
        code, state = await consent(begun.auth_url or "")
        async with engine_with(tmp_path, **SETTINGS) as engine:
            done = await engine.assets.call(CompleteOauth(state, code))
            assert isinstance(done, Connected) and done.status == "connected", done
        server.provider.expire_all()
        async with engine_with(tmp_path, **SETTINGS) as engine:
            await until_status(engine, "connected")
            assert isinstance(await shout(engine), Content)
        assert len(server.provider.clients) == 1


async def test_a_rotated_key_still_opens_and_seals_anew(tmp_path: Path) -> None:
    newer = Fernet.generate_key().decode()
    async with protected() as server:
        async with engine_with(tmp_path, server.definition(), **SETTINGS) as engine:
            await connect(engine)
        both = {**SETTINGS, "AD_ENCRYPTION_KEY": f"{newer},{KEY}"}
        async with engine_with(tmp_path, **both) as engine:
            await until_status(engine, "connected")
        alone = {**SETTINGS, "AD_ENCRYPTION_KEY": newer}
        async with engine_with(tmp_path, **alone) as engine:
            await until_status(engine, "connected")
            assert isinstance(await shout(engine), Content)
        async with engine_with(tmp_path, **SETTINGS) as engine:
            await until_status(engine, "error")
            refused = await shout(engine)
            assert isinstance(refused, SeptemberError)
            assert refused.code == "MCP_TOKEN_EXPIRED"
            assert "AD_ENCRYPTION_KEY" in refused.message
