"""What is wrong is named, with the documented code; nothing runs, and nothing is lost."""

import json
import os
import socket
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.peers import Say, script

from .brain import change, rows
from .client import Client, Refused, phases, text_of
from .harness import KEY, Boot, boot, engine_process, settings
from .served import Served, served
from .stage import staged
from .wire import exchanged

GOOD = {"task_id": "task", "message": "go"}
MIB = 2**20


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Served]:
    """An Engine whose brain must be as empty after the test as before."""
    async with served(settings(tmp_path)) as running:
        yield running
        for table in ("conversations", "turns", "messages", "channel_events"):
            assert rows(running.brain, f"SELECT * FROM {table}") == []
        assert (await running.client.get("/health"))["status"] == "ok"


async def post(
    engine: Served, body: bytes, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """POST raw bytes to /execute; the status and the error envelope."""
    fields = {"X-Engine-Key": KEY, "Content-Type": "application/json"}
    fields.update(headers or {})
    async with exchanged(engine.url, "POST", "/execute", fields, body) as exchange:
        return exchange.status, json.loads(await exchange.body())


# --- requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", "wrong", KEY.upper(), KEY + "x", "ä"])
async def test_a_wrong_key_opens_nothing(engine: Served, key: str) -> None:
    status, body = await post(engine, json.dumps(GOOD).encode(), {"X-Engine-Key": key})
    assert (status, body["error"]) == (401, "INVALID_KEY")
    assert "X-Engine-Key" in body["message"]


async def test_a_wrong_key_is_found_before_anything_else_is(engine: Served) -> None:
    status, body = await post(engine, b"\xff not json", {"X-Engine-Key": "wrong"})
    assert (status, body["error"]) == (401, "INVALID_KEY")


@pytest.mark.parametrize(
    ("body", "status", "code", "named"),
    [
        ({**GOOD, "mesage": "x"}, 400, "INVALID_REQUEST", "mesage"),
        ({**GOOD, "context": {"files": {}, "x": 1}}, 400, "INVALID_REQUEST", "context.x"),
        ({**GOOD, "message": ""}, 400, "INVALID_REQUEST", "message"),
        ({**GOOD, "message": " \n\t"}, 400, "INVALID_REQUEST", "message"),
        ({"message": "go"}, 400, "INVALID_REQUEST", "task_id"),
        ({**GOOD, "task_id": ""}, 400, "INVALID_REQUEST", "task_id"),
        ({**GOOD, "message": 7}, 422, None, "message"),
        ({**GOOD, "on_busy": "wait"}, 422, None, "on_busy"),
        ({**GOOD, "agent": "nobody"}, 404, "AGENT_NOT_FOUND", "nobody"),
        ({**GOOD, "edit_message_id": "msg-0"}, 400, "INVALID_REQUEST", "edit_message_id"),
        ({**GOOD, "retry_message_id": "msg-0"}, 400, "INVALID_REQUEST", "retry_message_id"),
        ({**GOOD, "context": {"files": {"../x": ""}}}, 400, "INVALID_REQUEST", "../x"),
        ([GOOD], 400, "INVALID_REQUEST", "object"),
    ],
)
async def test_a_body_that_cannot_be_meant_is_refused_by_name(
    engine: Served, body: object, status: int, code: str | None, named: str
) -> None:
    answered, envelope = await post(engine, json.dumps(body).encode())
    assert answered == status
    assert envelope["error"] == (code or envelope["error"])
    assert named in envelope["message"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "empty"),
        (b'{"task_id": "task", "message": "\xff"}', "UTF-8"),
        (b'{"task_id": "task", "message": "go"', "line 1"),
        (b"{'task_id': 'task'}", "line 1, column 2"),
        (b"[" * 100_000, "JSON"),
    ],
)
async def test_a_body_that_is_no_json_is_refused_with_its_place(
    engine: Served, body: bytes, named: str
) -> None:
    status, envelope = await post(engine, body)
    assert (status, envelope["error"]) == (400, "INVALID_REQUEST")
    assert named in envelope["message"] or "nested" in envelope["message"]


@pytest.mark.parametrize("size", [MIB + 1, 2 * MIB, 10 * MIB])
async def test_a_body_that_is_too_large_is_refused_and_the_answer_arrives(
    engine: Served, size: int
) -> None:
    body = json.dumps({**GOOD, "message": "x" * size}).encode()
    status, envelope = await post(engine, body)
    assert (status, envelope["error"]) == (413, "PAYLOAD_TOO_LARGE")
    assert "MAX_BODY_BYTES" in envelope["message"]


@pytest.mark.parametrize("last_id", ["x", "-1", "1.5", "9" * 30])
async def test_an_event_id_that_is_none_is_refused(engine: Served, last_id: str) -> None:
    headers = {"X-Engine-Key": KEY, "Last-Event-ID": last_id}
    async with exchanged(engine.url, "GET", "/execute/replay", headers) as exchange:
        body = json.loads(await exchange.body())
    assert (exchange.status, body["error"]) == (400, "INVALID_REQUEST")
    assert "Last-Event-ID" in body["message"]


async def test_what_there_is_not_is_not_found(engine: Served) -> None:
    for path in ("/nothing", "/conversations/none"):
        with pytest.raises(Refused) as refused:
            await engine.client.get(path)
        assert refused.value.status == 404
    with pytest.raises(Refused) as refused:
        await engine.client.answer("yes")
    assert (refused.value.status, refused.value.error) == (404, "TASK_NOT_FOUND")
    with pytest.raises(Refused) as refused:
        await engine.client.get("/execute")
    assert (refused.value.status, refused.value.error) == (405, "METHOD_NOT_ALLOWED")


async def test_a_refused_request_leaves_a_running_turn_alone(tmp_path: Path) -> None:
    async with staged("anthropic", script([Say("All well.")]), tmp_path) as stage:
        async with stage.client.execute() as stream:
            for body in (b"\xff", b"{}", json.dumps({**GOOD, "x": 1}).encode()):
                assert (await post(stage.engine, body))[0] == 400
            events = await stream.rest()
        assert phases(events) == ["started", "completed"]
        assert text_of(events) == "All well."


# --- settings -------------------------------------------------------------------------------------


def check_refusal(ended: Boot, *named: str) -> None:
    """It ended with the code for a wrong configuration, and one clear line on why."""
    assert ended.code == 2, ended.output
    assert "Traceback" not in ended.output
    for words in named:
        assert words in ended.output


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TOKEN_BUDGET_ENABLED", "maybe"),
        ("TASK_SLOTS", "0"),
        ("ENGINE_PORT", "http"),
        ("LLM_PROVIDER", "acme"),
        ("SANDBOX_MODE", "off"),
        ("DRAIN_TIMEOUT_S", "-1"),
        ("ENGINE_KEY_HASH", "not-a-hash"),
        ("CATALOG_DIR", "/nowhere"),
        ("SCRIPTED_RULES", "/nowhere.toml"),
    ],
)
async def test_a_setting_that_cannot_be_meant_stops_the_boot_by_name(
    tmp_path: Path, variable: str, value: str
) -> None:
    check_refusal(await boot(settings(tmp_path, **{variable: value})), variable)
    assert not (tmp_path / "brain.sqlite").exists()


async def test_a_missing_key_stops_the_boot_by_name(tmp_path: Path) -> None:
    env = settings(tmp_path)
    del env["ENGINE_API_KEY"]
    check_refusal(await boot(env), "ENGINE_KEY_HASH")
    env = settings(tmp_path, LLM_PROVIDER="anthropic", LLM_MODEL="claude-sonnet-5")
    check_refusal(await boot(env), "LLM_API_KEY")


# --- places ---------------------------------------------------------------------------------------


@pytest.fixture
def unwritable(tmp_path: Path) -> Iterator[Path]:
    """A folder in which not even root may create a file; skips where that cannot be made."""
    folder = tmp_path / "locked"
    folder.mkdir()
    if os.getuid():
        folder.chmod(0o500)
        yield folder
        folder.chmod(0o700)
    else:
        yield Path("/proc/self")


async def test_a_brain_that_cannot_be_written_stops_the_boot(
    tmp_path: Path, unwritable: Path
) -> None:
    (tmp_path / "file").write_text("a file")
    below_a_file, folder = tmp_path / "file" / "brain.sqlite", tmp_path
    for path in (below_a_file, folder, unwritable / "brain.sqlite"):
        check_refusal(await boot(settings(tmp_path, SQLITE_DB_PATH=str(path))), "SQLITE_DB_PATH")
    assert (tmp_path / "file").read_text() == "a file"


async def test_a_port_that_is_taken_stops_the_boot(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        check_refusal(await boot(settings(tmp_path, ENGINE_PORT=port)), "ENGINE_PORT", port)


async def test_a_second_engine_on_a_brain_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    env = settings(tmp_path)
    async with engine_process(env) as first, Client(first.url) as client:
        await client.turn("run: echo one")
        check_refusal(await boot(env), str(first.pid), "brain.sqlite", "in use")
        assert phases(await client.turn("run: echo two")) == ["started", "completed"]
    async with engine_process(env) as second, Client(second.url) as client:
        assert len(await client.messages()) > 4


# --- brains ---------------------------------------------------------------------------------------


@pytest.fixture
async def brain(tmp_path: Path) -> Path:
    """A brain with two turns in it, its log tidied away."""
    async with served(settings(tmp_path)) as engine:
        await engine.client.turn("run: echo one")
        await engine.client.turn("run: echo two")
    return tmp_path / "brain.sqlite"


def digest(path: Path) -> str:
    """A fingerprint of the file's bytes."""
    return sha256(path.read_bytes()).hexdigest()


def spoil_header(brain: Path) -> None:
    """The first bytes are not SQLite's."""
    with brain.open("r+b") as file:
        file.write(b"not a database at all")


def cut_off(brain: Path) -> None:
    """Most of the file is missing."""
    os.truncate(brain, 5000)


def spoil_schema(brain: Path) -> None:
    """The header is right; the page behind it is not."""
    with brain.open("r+b") as file:
        file.seek(100)
        file.write(os.urandom(3000))


def come_from_the_future(brain: Path) -> None:
    """An Engine of next year has migrated it."""
    change(
        brain,
        "INSERT INTO schema_migrations (version, name, checksum, applied_at)"
        " VALUES (9999, '9999_future.sql', 'x', 0)",
    )


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (spoil_header, "is no SQLite database"),
        (cut_off, "brain.sqlite"),
        (spoil_schema, "brain.sqlite"),
        (come_from_the_future, "9999"),
    ],
)
async def test_a_brain_that_cannot_be_used_stops_the_boot_and_is_left_as_it_is(
    brain: Path, spoil: Any, named: str
) -> None:
    spoil(brain)
    before = digest(brain)
    ended = await boot(settings(brain.parent))
    check_refusal(ended, named)
    assert "brain.sqlite" in ended.output
    assert digest(brain) == before


async def test_a_brain_from_the_future_is_good_again_for_the_engine_it_is_of(brain: Path) -> None:
    come_from_the_future(brain)
    check_refusal(await boot(settings(brain.parent)), "9999")
    change(brain, "DELETE FROM schema_migrations WHERE version = 9999")
    async with served(settings(brain.parent)) as engine:
        assert phases(await engine.client.turn("run: echo three")) == ["started", "completed"]
        assert len(await engine.client.messages()) > 6


async def test_a_gate_refuses_to_migrate_and_says_how_to(tmp_path: Path) -> None:
    change(tmp_path / "brain.sqlite", "CREATE TABLE mine (x)")
    before = digest(tmp_path / "brain.sqlite")
    ended = await boot(settings(tmp_path, MIGRATIONS="gate"))
    check_refusal(ended, "brain.sqlite")
    assert digest(tmp_path / "brain.sqlite") == before
