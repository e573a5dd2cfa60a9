"""Engines as processes: real ones, started, adopted, ended, and never two for one user."""

import os
import signal
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import httpx2
import pytest
import trio

from september.config import Secret
from september.fleet.backends.backend import (
    EngineSpec,
    Fenced,
    NoInstance,
    PortTaken,
    Presence,
)
from september.fleet.backends.process import Process, processes_in
from september.fleet.backends.subprocess import ENGINE, SubprocessBackend
from september.fleet.engine_client import HttpEngineClient, Unreachable, open_client
from september.fleet.keys import sha256_of

from .stage import eventually

KEY = "sk-sept-test"
ENV = {"LLM_PROVIDER": Secret("scripted"), "ENGINE_LOG_LEVEL": Secret("WARNING")}
TOY = Path(__file__).with_name("toy_engine.py")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "engines"
    for folder in (tmp_path / "engines").glob("*"):
        for process in processes_in(folder):
            os.kill(process.pid, signal.SIGKILL)


def toy(root: Path) -> SubprocessBackend:
    return SubprocessBackend(root, ENV, program=(sys.executable, str(TOY)))


def spec(engine_id: UUID, port: int, generation: int = 1, image: str = "e:1") -> EngineSpec:
    return EngineSpec(
        engine_id, generation, image, port, {**ENV, "ENGINE_KEY_HASH": Secret(sha256_of(KEY))}
    )


def a_port() -> int:
    return 20000 + uuid4().int % 20000


async def healthy(client: HttpEngineClient, url: str) -> None:
    async def ok() -> bool:
        try:
            return (await client.health(url, 2)).ok
        except Unreachable:
            return False

    await eventually(ok, within=20)


async def test_a_real_engine_is_started_rotated_stopped_and_started(root: Path) -> None:
    backend, engine_id = SubprocessBackend(root, ENV, program=ENGINE), uuid4()
    async with backend.running(), open_client() as client, httpx2.AsyncClient() as http:
        endpoint = await backend.create(spec(engine_id, a_port()))
        await healthy(client, endpoint.url)
        assert await client.rotate(endpoint.url, KEY, sha256_of("new"), 0) == 0
        await backend.stop(engine_id, 2)
        assert await backend.status(engine_id) is Presence.STOPPED
        assert (await backend.start(engine_id, 3)).url == endpoint.url
        await healthy(client, endpoint.url)
        body = {"message": "hello", "task_id": "t"}
        turn = await http.post(
            f"{endpoint.url}/execute", json=body, headers={"X-Engine-Key": "new"}, timeout=20
        )
        assert '"completed"' in turn.text
        await backend.export(engine_id, root / "copy.sqlite")
        with sqlite3.connect(root / "copy.sqlite") as copy:
            assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        copy.close()
        await backend.destroy(engine_id, 4)
        assert await backend.status(engine_id) is Presence.ABSENT
        assert os.listdir(root) == ["copy.sqlite"]


async def test_the_next_orchestrator_adopts_what_runs(root: Path) -> None:
    engine_id, port = uuid4(), a_port()
    first = toy(root)
    async with first.running(), open_client() as client:
        endpoint = await first.create(spec(engine_id, port))
        await healthy(client, endpoint.url)
        second = toy(root)
        async with second.running():
            assert [one.presence for one in await second.list()] == [Presence.RUNNING]
            before = next(processes_in(root / engine_id.hex))
            await second.create(spec(engine_id, port, generation=2))
            assert next(processes_in(root / engine_id.hex)) == before
            await second.create(spec(engine_id, port, generation=3, image="e:2"))
            after = list(processes_in(root / engine_id.hex))
            assert len(after) == 1 and after[0] != before
            await second.destroy(engine_id, 4)
        assert not list(processes_in(root / engine_id.hex))


async def test_a_process_that_was_not_written_down_is_found(root: Path) -> None:
    engine_id = uuid4()
    backend = toy(root)
    async with backend.running():
        await backend.create(spec(engine_id, a_port()))
        folder = root / engine_id.hex
        (folder / "process.json").unlink()
        (folder / "spawning").touch()  # as a kill between the two leaves it
        assert await backend.status(engine_id) is Presence.RUNNING
        await backend.stop(engine_id, 1)
        assert not list(processes_in(folder))


async def test_a_pid_that_was_given_out_again_is_nobody(root: Path) -> None:
    backend, engine_id = toy(root), uuid4()
    async with backend.running():
        await backend.create(spec(engine_id, a_port()))
        await backend.stop(engine_id, 1)
        ours = Process.of(os.getpid())
        stranger = b'{"pid":%d,"started":%d}' % (ours.pid, ours.started - 1)
        (root / engine_id.hex / "process.json").write_bytes(stranger)
        assert await backend.status(engine_id) is Presence.STOPPED
        await backend.stop(engine_id, 1)


async def test_one_that_ignores_sigterm_is_killed_and_nobody_is_a_zombie(root: Path) -> None:
    engine_id = uuid4()
    env = {**ENV, "TOY_STUBBORN": Secret("true")}
    backend = SubprocessBackend(root, env, program=(sys.executable, str(TOY)))
    async with backend.running(), open_client() as client:
        endpoint = await backend.create(spec(engine_id, a_port()))
        await healthy(client, endpoint.url)
        process = next(processes_in(root / engine_id.hex))
        await backend.stop(engine_id, 1, within=0.3)
        assert str(process.pid) not in os.listdir("/proc")


async def test_a_death_is_told_and_a_stop_is_not(root: Path) -> None:
    dies, stops = uuid4(), uuid4()
    backend = toy(root)
    async with backend.running():
        for engine_id in (dies, stops):
            await backend.create(spec(engine_id, a_port()))
        told = backend.watch()
        async with trio.open_nursery() as nursery:

            async def kill() -> None:
                await trio.sleep(0.6)
                await backend.stop(stops, 1)
                os.kill(next(processes_in(root / dies.hex)).pid, signal.SIGKILL)

            nursery.start_soon(kill)
            with trio.fail_after(5):
                died = await anext(told)
        assert died.engine_id == dies
        await told.aclose()


async def test_what_cannot_be_done_has_a_name(root: Path) -> None:
    backend, engine_id, port = toy(root), uuid4(), a_port()
    async with backend.running():
        with pytest.raises(NoInstance):
            await backend.start(engine_id, 1)
        await backend.create(spec(engine_id, port, generation=5))
        with pytest.raises(Fenced):
            await backend.stop(engine_id, 4)
        await trio.sleep(0.5)
        with pytest.raises(PortTaken):
            await backend.create(spec(uuid4(), port))


async def test_a_fence_that_is_being_written_when_we_die_is_the_old_one(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between two system calls, an orchestrator leaves the last fence, never none."""
    engine_id, replace = uuid4(), Path.replace

    def killed(path: Path, to: Path) -> Path:
        if to.suffix == ".fence":
            raise InterruptedError("killed")
        return replace(path, to)

    async with toy(root).running():
        await toy(root).stop(engine_id, 5)
        monkeypatch.setattr(Path, "replace", killed)
        with pytest.raises(InterruptedError):
            await toy(root).stop(engine_id, 6)
        monkeypatch.undo()
        with pytest.raises(Fenced):
            await toy(root).stop(engine_id, 4)
        await toy(root).stop(engine_id, 6)
