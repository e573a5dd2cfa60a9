"""The orchestrator's own traces: durable, causally linked, without secrets, joined to Engines'."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest
import trio
from msgspec.structs import replace

from september.actors import Trace
from september.config import Secret
from september.fleet.backends.backend import Backend, BackendError
from september.fleet.backends.process import processes_in
from september.fleet.backends.subprocess import SubprocessBackend
from september.fleet.engine_client import open_client
from september.fleet.instances import Operation
from september.fleet.managed import GoToSleep
from september.fleet.membership import Standing
from september.fleet.registry import ALIVE_LOCK
from september.fleet.store.database import Database, Session
from september.fleet.trace_store import FleetTraces, store_rows
from september.fleet.tree import Pace, running_fleet
from september.traces.row import TraceFilter, TraceRow
from september.traces.stump import CUT_SHORT

from .api import StagedApi, served, serving
from .stage import eventually, settings

CLIENTS_TRACE = "ab" * 16
TRACEPARENT = f"00-{CLIENTS_TRACE}-{'cd' * 8}-01"


async def test_a_provision_is_traced_from_the_request_to_each_verb(database_url: str) -> None:
    async with served(database_url) as api:
        key = await api.register()
        headers = {**key, "traceparent": TRACEPARENT}
        answer = await api.ask("POST", "/engines/ada/admit", {"auto_provision": True}, **headers)
        engine_id = answer.json()["engine"]["engine_id"]
        assert answer.headers["traceparent"].split("-")[1] == CLIENTS_TRACE
        lines = (await api.get(f"/traces/{CLIENTS_TRACE}"))["lines"]
        depths = {line["row"]["path"]: line["depth"] for line in lines}
        path = [
            "POST /engines/ada/admit",
            "orchestrator/discovery",
            f"orchestrator/engines/{engine_id}",
            f"provision {engine_id}",
            "backend create",
        ]
        assert [depths[name] for name in path] == [0, 1, 2, 3, 4]
        gaps = [line["row"]["path"] for line in lines if line["gap"]]
        assert gaps == ["POST /engines/ada/admit"], "only the client's own span is elsewhere"


async def test_traces_outlive_their_orchestrator_and_can_be_chosen(database_url: str) -> None:
    async with served(database_url) as api:
        key = await api.register()
        await api.ask("POST", "/engines/ada/admit", {"auto_provision": True}, **key)
        await api.ask("GET", "/engines/nobody", **key)
        await api.ask("GET", "/health")
        world = api.stage.world
    async with served(database_url, world) as api:
        names = [one["name"] for one in (await api.get("/traces"))["traces"]]
        assert "GET /engines/nobody" in names and "GET /health" not in names
        failed = (await api.get("/traces", errors=True))["traces"]
        assert [one["name"] for one in failed] == ["GET /engines/nobody"], failed
        assert failed[0]["failures"] == 1
        (admit,) = (await api.get("/traces", message_type="Admit"))["traces"]
        assert admit["name"] == "POST /engines/ada/admit"
        engine_id = next(iter(world.engines))
        of_engine = (await api.get("/traces", actor=str(engine_id)))["traces"]
        assert admit in of_engine and len(of_engine) < len(names)
        assert not (await api.get("/traces", slow_ms=3_600_000))["traces"]


async def test_why_leads_from_a_user_to_what_the_backend_said(database_url: str) -> None:
    async with served(database_url) as api:

        async def fault(verb: str, _: object) -> None:
            if verb == "create":
                raise BackendError("no space left on device")

        api.stage.world.fault = fault
        key = await api.register()
        refused = await api.ask("POST", "/engines/ada/admit", {"auto_provision": True}, **key)
        assert refused.status_code == 502
        for target in ("ada", str((await _only_engine(api)).id)):
            why = await api.get("/traces/why", of=target)
            assert "backend create" in why["verdict"]
            assert "no space left on device" in why["verdict"]
        assert why["origin"][-1]["path"] == "POST /engines/ada/admit"
        missing = await api.http.get(
            f"{api.url}/traces/why", params={"of": "nobody"}, headers={"X-Admin-Key": "admin-key"}
        )
        assert missing.json()["error"]["code"] == "NOT_FOUND"


async def _only_engine(api: StagedApi) -> Any:
    return await api.stage.row(UUID(str(await api.stage.value("SELECT id FROM engines"))))


async def test_an_engine_that_died_says_why(database_url: str) -> None:
    async with served(database_url) as api:
        engine = await api.stage.provision()
        api.stage.backend.die(engine.id, "exit 137: out of memory")

        async def told() -> bool:
            return "auto_restart_success" in await api.stage.actions(engine)

        await eventually(told)
        why = await api.get("/traces/why", of=str(engine.id))
        assert why["verdict"] == f"not_well {engine.id}: UNHEALTHY: exit 137: out of memory"


async def test_no_secret_is_in_any_row(database_url: str) -> None:
    async with served(database_url) as api:
        key = await api.register()
        made = await api.ask("POST", "/engines/ada/admit", {"auto_provision": True}, **key)
        await api.ask("POST", "/engines/ada/rotate-key", **key)
        engine = await _only_engine(api)
        await (await api.stage.fleet.roster.of(engine.id)).call(GoToSleep(engine))
        await api.ask("GET", f"/engines/{api.stage.key_of(engine)}", **key)  # a slip of the client
        await api.stage.perform(engine, Operation.STOP, note="admin-key in some text")
        await api.get("/traces")  # has everything written
        text = str(
            await api.stage.value("SELECT string_agg(to_json(t)::text, ' ') FROM trace_rows t")
        )
        assert "GoToSleep" in text and "rotate_key" in text
        secrets = [
            made.json()["engine"]["api_key"],
            api.stage.key_of(engine),
            engine.engine_key_enc,
            engine.engine_key_hash,
            *key.values(),
            "admin-key",
        ]
        assert not [secret for secret in secrets if secret in text]


async def test_the_live_streams_are_the_engines_with_an_admin_key(database_url: str) -> None:
    async with served(database_url) as api:
        key = await api.register()
        headers = {"X-Admin-Key": "admin-key"}
        stranger = await api.http.get(f"{api.url}/traces/stream", headers=key)
        assert stranger.json()["error"]["code"] == "INVALID_ADMIN_KEY"
        with trio.fail_after(10):
            async with await _opened(api.url, "/traces/stream") as stream:
                await _until(stream, ": following")
                await api.ask("POST", "/engines/ada/admit", {"auto_provision": True}, **key)
                await _until(stream, "POST /engines/ada/admit")
            async with await _opened(api.url, "/actors/stream") as stream:
                await _until(stream, "orchestrator/discovery")
        bad = await api.http.get(
            f"{api.url}/traces/stream", headers={**headers, "Last-Event-ID": "x"}
        )
        assert bad.status_code == 400 and bad.json()["error"]["code"] == "INVALID_REQUEST"
        actors = (await api.get("/actors"))["actors"]
        assert {"orchestrator/trace", "orchestrator/prober"} <= {one["path"] for one in actors}


async def _opened(url: str, path: str) -> trio.SocketStream:
    """A stream as bytes, which may be left in the middle."""
    host, port = url.removeprefix("http://").split(":")
    stream = await trio.open_tcp_stream(host, int(port))
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Admin-Key: admin-key\r\n\r\n"
    await stream.send_all(request.encode())
    return stream


async def _until(stream: trio.SocketStream, text: str) -> None:
    seen = b""
    while text.encode() not in seen:
        piece = await stream.receive_some()
        assert piece, f"the stream ended before {text!r}"
        seen += piece


async def test_any_path_can_be_recorded(database_url: str) -> None:
    async with served(database_url) as api:
        key = await api.register()
        await api.http.get(f"{api.url}/engines/a%00b%ED%A0%80%F0%9F%8D%82", headers=key)
        await api.ask("GET", "/engines/after", **key)
        names = [one["name"] for one in (await api.get("/traces"))["traces"]]
        assert "GET /engines/after" in names
        assert any(name.startswith("GET /engines/a\N{REPLACEMENT CHARACTER}b") for name in names)
        assert (await api.get("/traces"))["losses"] == {"overload": 0, "store": 0}


def row(number: int, at: int) -> TraceRow:
    return TraceRow(
        kind="span", at=at, trace_id=f"{number:032x}", span_id=f"{number:016x}", path="work"
    )


async def test_rows_go_by_age_and_by_size_oldest_first(database: Database) -> None:
    store = FleetTraces(database, Standing())
    batch = [row(number, number) for number in range(1, 101)]
    await store.keep(batch)
    total = await store.size()
    assert total == sum(one.size for one in batch)
    assert await store.prune(before=11, excess=0) == sum(one.size for one in batch[:10])
    assert await store.prune(before=0, excess=total // 2) == total // 2
    last, left = await store.since(0)
    assert (last, left[0].at, len(left)) == (100, 61, 40)
    assert len(await store.page(TraceFilter(limit=500))) == 40
    assert await store.prune(before=0, excess=0) == 0


async def test_a_batch_that_was_stored_already_is_not_stored_again(database: Database) -> None:
    store = FleetTraces(database, Standing())
    await store.keep([row(1, 1), row(2, 2)])
    await store.keep([row(1, 1), row(2, 2)])
    assert [len(await store.trace(f"{number:032x}")) for number in (1, 2)] == [1, 1]


async def test_what_dead_orchestrators_had_under_way_is_told_by_one_that_lives(
    database: Database,
) -> None:
    standing = Standing()
    store = FleetTraces(database, standing)
    part = TraceRow(
        kind="span", at=40, trace_id="e", span_id="1", parent_id="a" * 16, path="in", handling_us=5
    )
    await store.keep([part, replace(part, span_id="2", parent_id="b" * 16, at=50)])
    standing.sit(3)

    async def enter(session: Session) -> None:
        await session.execute(
            "INSERT INTO trace_writers VALUES ('aaaaaa', 1), ('bbbbbb', 1), ('bbbbbb', 2)"
        )

    async def sit(session: Session) -> None:
        await session.execute("SELECT pg_advisory_lock($1::integer, 2)", ALIVE_LOCK)

    async with database.dedicated(lambda: None) as living:
        await living.run(sit)
        await database.write(enter)
        for _ in range(2):
            await store.mend()
            told = await store.trace("e")
            assert {one.span_id for one in told} == {"1", "2", "a" * 16}, "two's process lives"
            (stump,) = [one for one in told if one.outcome == CUT_SHORT]
            assert (stump.span_id, stump.ended_at) == ("a" * 16, 45)
    await store.mend()
    assert len(await store.trace("e")) == 4, "it has died since"


async def test_a_trace_that_comes_in_two_batches_is_one(database: Database) -> None:
    store = FleetTraces(database, Standing())
    later = TraceRow(kind="span", at=50, trace_id="a", span_id="2", path="in", handling_us=5)
    whole = TraceRow(
        kind="span", at=10, trace_id="a", span_id="1", path="out", handling_us=90, outcome="E"
    )
    await store.keep([later])
    await store.keep([whole])
    (summary,) = await store.page(TraceFilter())
    assert (summary.name, summary.started_at, summary.duration_us) == ("out", 10, 90)
    assert (summary.spans, summary.failures, summary.slowest_us) == (2, 1, 90)
    assert await store.page(TraceFilter(until=5)) == []


async def test_followers_miss_no_row_of_two_who_write_at_once(
    database: Database, database_url: str
) -> None:
    """A row with an earlier id that is committed later would be behind the follower already."""
    store, slow = FleetTraces(database, Standing()), Database(database_url)
    await slow.open()
    inserted = trio.Event()

    async def insert_and_linger(session: Session) -> None:
        await store_rows(session, [row(1, 1)])
        inserted.set()
        await session.execute("SELECT pg_sleep(0.4)")

    seen, last = set[int](), 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(slow.write, insert_and_linger)
        await inserted.wait()
        nursery.start_soon(store.keep, [row(2, 2)])
        with trio.fail_after(5):
            while 2 not in seen:
                last, rows = await store.since(last)
                seen |= {one.at for one in rows}
                await trio.sleep(0.02)
    last, rows = await store.since(last)
    assert seen | {one.at for one in rows} == {1, 2}
    await slow.close()


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "engines"
    for folder in (tmp_path / "engines").glob("*"):
        for process in processes_in(folder):
            os.kill(process.pid, signal.SIGKILL)


async def test_one_trace_id_joins_the_orchestrator_and_the_engine(
    database_url: str, root: Path
) -> None:
    env = {"LLM_PROVIDER": Secret("scripted"), "ENGINE_LOG_LEVEL": Secret("WARNING")}
    trace = Trace()

    def make(_: UUID) -> Backend:
        return SubprocessBackend(root, env)

    config = settings(database_url, orch_boot_timeout_s=30, engine_env=env)
    async with open_client() as client:
        async with running_fleet(
            config, make, client, trace=trace, pace=Pace(spread=0, grace=0)
        ) as fleet:
            async with serving(fleet, trace) as api:
                key = await api.register()
                wish = {"auto_provision": True}
                admit = await api.ask("POST", "/engines/ada/admit", wish, **key)
                engine, handed_out = admit.json()["engine"], admit.headers["traceparent"]
                await _run_turn(api.http, engine, handed_out)
                rotated = await api.ask(
                    "POST", "/engines/ada/rotate-key", traceparent=TRACEPARENT, **key
                )
                engine["api_key"] = rotated.json()["api_key"]
                trace_id = handed_out.split("-")[1]
                ours = await _rows(api.http, api.url, {"X-Admin-Key": "admin-key"}, trace_id)
                theirs = await _rows(
                    api.http, engine["url"], {"X-Engine-Key": engine["api_key"]}, trace_id
                )
                rotation = await _rows(
                    api.http, engine["url"], {"X-Engine-Key": engine["api_key"]}, CLIENTS_TRACE
                )
    assert "POST /engines/ada/admit" in {one["path"] for one in ours}
    assert {"POST /execute", "chat"} <= {one["path"] for one in theirs}
    execute = next(one for one in theirs if one["path"] == "POST /execute")
    assert execute["parent_id"] in {one["span_id"] for one in ours}, "the turn is below the admit"
    assert "POST /admin/rotate-key" in {one["path"] for one in rotation}


async def _run_turn(http: httpx2.AsyncClient, engine: dict[str, str], traceparent: str) -> None:
    headers = {"X-Engine-Key": engine["api_key"], "traceparent": traceparent}
    body = {"task_id": "t", "message": "hello"}
    turn = await http.post(f"{engine['url']}/execute", json=body, headers=headers)
    assert '"completed"' in turn.text


async def _rows(
    http: httpx2.AsyncClient, url: str, key: dict[str, str], trace_id: str
) -> list[dict[str, Any]]:
    answer = await http.get(f"{url}/traces/{trace_id}", headers=key)
    return [line["row"] for line in answer.json()["lines"]]
