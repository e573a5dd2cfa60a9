"""Engines in containers of a real Docker daemon: made, told, put to sleep, killed, healed.

Needs a daemon and the project's own image, as it is now: `.dev/docker`.
"""

import gc
import os
import shutil
import signal
import socket
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from september.errors import SeptemberError
from september.fleet.backends.backend import Presence
from september.fleet.instances import Engine, Operation
from september.fleet.rounds import GoRound

from .docked import (
    IMAGE,
    THERE,
    Containers,
    contained,
    docker,
    inspect,
    own_daemon,
    pid_of,
)
from .stage import eventually

pytestmark = [
    pytest.mark.crash,
    pytest.mark.timeout(240),
    pytest.mark.skipif(
        shutil.which("docker") is None or not docker("image", "inspect", IMAGE),
        reason=f"no Docker daemon, or no image {IMAGE} in it; .dev/docker makes both",
    ),
]

COMPLETED = '"completed"'


@pytest.fixture
async def fleet(database_url: str) -> AsyncIterator[Containers]:
    async with contained(database_url) as fleet:
        yield fleet


@pytest.fixture
async def healing(database_url: str) -> AsyncIterator[Containers]:
    """A fleet that looks after its Engines every second."""
    async with contained(
        database_url, orch_reconcile_interval_s=1.0, orch_health_check_interval_s=1.0
    ) as fleet:
        yield fleet


async def test_an_engine_lives_from_provision_to_destroy(fleet: Containers) -> None:
    engine = await fleet.provision()
    turn = await fleet.turn()
    assert "Linux" in turn and COMPLETED in turn  # uname ran in bubblewrap, inside the container
    old = fleet.key(await fleet.row(engine))
    rotated = await fleet.done(engine, Operation.ROTATE_KEY)
    assert rotated.container_id == engine.container_id and fleet.key(rotated) != old
    assert COMPLETED in await fleet.turn()
    await fleet.done(engine, Operation.SLEEP)
    assert inspect(engine.container_id or "")["State"]["Status"] == "exited"
    assert (await fleet.admit()).status.value == "running"
    assert COMPLETED in await fleet.turn()
    await fleet.done(engine, Operation.STOP)
    await fleet.done(engine, Operation.START)
    assert COMPLETED in await fleet.turn()
    await fleet.do(engine, Operation.DESTROY)
    await fleet.nothing_is_left(engine)


async def test_an_upgrade_keeps_the_brain_and_a_bad_one_goes_back(fleet: Containers) -> None:
    engine = await fleet.provision()
    await fleet.turn()
    docker("tag", IMAGE, "september-engine:next")
    upgraded = await fleet.done(engine, Operation.UPGRADE, next_image="september-engine:next")
    assert upgraded.image == "september-engine:next"
    assert upgraded.container_id != engine.container_id
    assert "I took the tour" in await fleet.conversations()
    bad = _image_that_ends()
    for image in (bad, "september-engine:nowhere"):
        broken = await fleet.done(engine, Operation.UPGRADE, next_image=image)
        assert (broken.image, broken.status.value) == ("september-engine:next", "running")
        assert "I took the tour" in await fleet.conversations()
    assert COMPLETED in await fleet.turn()
    await fleet.do(engine, Operation.DESTROY)
    await fleet.nothing_is_left(engine)
    docker("rmi", "september-engine:next", bad)


async def test_a_brain_is_read_while_it_is_used_and_put_back(
    fleet: Containers, tmp_path: Path
) -> None:
    engine, backup = await fleet.provision(), tmp_path / "brain.sqlite"
    await fleet.turn()
    backend = fleet.fleet.resources.backend
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fleet.turn, "run: sleep 1")
        await backend.export(engine.id, backup)
    with sqlite3.connect(backup) as brain:
        assert brain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    brain.close()
    await fleet.do(engine, Operation.DESTROY)
    other = await fleet.provision("bob")
    await backend.stop(other.id, other.generation)
    await backend.replace_brain(other.id, other.generation, backup)
    await backend.start(other.id, other.generation)
    await fleet.well(other)
    assert "I took the tour" in await fleet.conversations("bob")
    await backend.stop(other.id, other.generation)
    await backend.export(other.id, tmp_path / "again.sqlite")  # also of one that is down
    assert (tmp_path / "again.sqlite").stat().st_size > 0


async def test_a_container_is_hardened(database_url: str, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"
    shutil.copytree(Path(__file__).parents[2] / "catalog", catalog)
    async with contained(database_url, orch_catalog_mount_path=catalog) as fleet:
        engine = await fleet.provision()
        name = engine.container_id or ""
        told = inspect(name)
        config, host = told["Config"], told["HostConfig"]
        assert config["User"] == "10001:10001"
        assert (host["Privileged"], host["CapAdd"], host["CapDrop"]) == (False, None, ["ALL"])
        assert host["ReadonlyRootfs"] and set(host["Tmpfs"]) == {"/tmp"}
        filters, flag = host["SecurityOpt"]
        assert flag == "no-new-privileges"
        assert '"defaultAction":"SCMP_ACT_ERRNO"' in filters.replace(" ", "").replace("\n", "")
        limits = (host["Memory"], host["MemorySwap"], host["NanoCpus"], host["PidsLimit"])
        assert limits == (2**28, 2**28, 10**9, 512)
        assert host["RestartPolicy"]["Name"] == "unless-stopped"
        assert docker("port", name) == f"8000/tcp -> 127.0.0.1:{engine.port}"
        assert sorted(mount["Destination"] for mount in told["Mounts"]) == ["/catalog", "/data"]
        writable = [mount["Destination"] for mount in told["Mounts"] if mount["RW"]]
        assert writable == ["/data"]
        assert next(iter(told["NetworkSettings"]["Networks"])).startswith("september-test-")
        assert "LLM_PROVIDER=scripted" in config["Env"]
        assert f"ENGINE_KEY_HASH={engine.engine_key_hash}" in config["Env"]
        assert fleet.key(engine) not in str(told)
        check = (
            "exec",
            name,
            "sh",
            "-c",
            '"$@" && echo well',
            "sh",
            *config["Healthcheck"]["Test"][1:],
        )
        assert docker(*check) == "well"
        for place in ("/opt/september/x", "/usr/x", "/catalog/x"):
            assert not docker("exec", name, "sh", "-c", f"touch {place} && echo written")
        assert docker("exec", name, "sh", "-c", "grep CapEff /proc/1/status").endswith("0" * 16)
        assert COMPLETED in await fleet.turn()


async def test_what_is_killed_comes_back(healing: Containers) -> None:
    fleet, engine = healing, await healing.provision()
    name = engine.container_id or ""
    restarts = inspect(name)["RestartCount"]
    os.kill(pid_of(name, "september engine"), signal.SIGKILL)  # the daemon's policy restarts it
    await _restarted(name, restarts)
    await fleet.well(engine)
    docker("kill", name)  # counts as stopped by hand: reconciliation has to start it
    await fleet.well(engine)
    docker("pause", name)  # and this one answers nothing
    await fleet.well(engine)
    docker("rm", "-f", name)
    engine = await _made_anew(fleet, engine)
    assert COMPLETED in await fleet.turn()
    ours = docker("ps", "-aq", "--filter", f"name={engine.id.hex[:12]}")
    assert len(ours.split()) == 1


async def test_an_engine_that_runs_out_of_memory_is_killed_and_comes_back(
    healing: Containers,
) -> None:
    engine = await healing.provision()
    name, began = engine.container_id or "", int(time.time())
    await healing.turn()
    restarts = inspect(name)["RestartCount"]
    victim = pid_of(name, "september engine")
    prefer(victim)
    docker("exec", name, "python", "-c", "x = bytearray(2**30)")
    await _restarted(name, restarts)
    until = ("--since", str(began), "--until", str(int(time.time()) + 1))
    ours = ("--filter", f"container={name}", "--filter", "event=oom", "--format", "{{.Action}}")
    assert "oom" in docker("events", *until, *ours)
    await healing.well(engine)
    assert "I took the tour" in await healing.conversations()
    assert COMPLETED in await healing.turn()


async def test_a_port_that_a_stranger_has_is_left_to_it(fleet: Containers) -> None:
    config = fleet.fleet.resources.config
    with socket.create_server(("127.0.0.1", config.orch_port_min)):
        engine = await fleet.provision()
        assert engine.port > config.orch_port_min
        assert COMPLETED in await fleet.turn()


async def test_an_image_that_is_nowhere_is_named_with_a_remedy(database_url: str) -> None:
    async with contained(database_url, orch_engine_image="september-engine:nowhere") as fleet:
        with pytest.raises(SeptemberError, match=r"engine:nowhere.* cannot be pulled .*build it"):
            await fleet.provision()


@pytest.mark.skipif(
    os.getuid() != 0 or None in map(shutil.which, ("dockerd", "ip", "nsenter")),
    reason="a daemon of one's own needs root, dockerd, ip and nsenter",
)
@pytest.mark.filterwarnings("ignore:unclosed .*socket:ResourceWarning")  # the SDK's, refused
async def test_engines_are_back_one_reconciliation_after_their_daemon_was_killed(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_daemon(tmp_path) as daemon:
        await daemon.start()
        daemon.load(IMAGE)
        monkeypatch.setenv("DOCKER_HOST", daemon.at)  # as a remote daemon is named, too
        async with contained(database_url, daemon.at, orch_engine_bind=THERE) as fleet:
            engines = [await fleet.provision(user) for user in ("ada", "bob")]
            asleep = await fleet.provision("eve")
            await fleet.done(asleep, Operation.SLEEP)
            assert f"http://{THERE}:" in (engines[0].url or "")
            assert COMPLETED in await fleet.turn()
            assert docker("ps", "-q", at=daemon.at).count("\n") == 1
            await daemon.kill()
            await fleet.fleet.reconcile.call(GoRound())
            rows = [await fleet.row(engine) for engine in engines]
            assert {row.status.value for row in rows} == {"running"}  # no answer is no news
            await daemon.start()
            backend = fleet.fleet.resources.backend
            assert await backend.status(engines[0].id) is Presence.STOPPED
            await fleet.fleet.reconcile.call(GoRound())
            for engine in engines:
                await fleet.well(engine, within=1)
            assert (await fleet.row(asleep)).status.value == "sleeping"
            assert await backend.status(asleep.id) is Presence.STOPPED
            assert "I took the tour" in await fleet.conversations()
            assert COMPLETED in await fleet.turn()
            for engine in (*engines, asleep):
                await fleet.do(engine, Operation.DESTROY)
            await fleet.nothing_is_left(*engines, asleep)
    gc.collect()  # sockets that the SDK leaves when a connection is refused: see the mark above


def prefer(victim: int) -> None:
    """Have the kernel kill this process first when memory runs out."""
    Path(f"/proc/{victim}/oom_score_adj").write_text("1000")


async def _restarted(name: str, before: int) -> None:
    """Wait until the daemon has restarted a container."""

    async def more() -> bool:
        return int(inspect(name)["RestartCount"]) > before

    await eventually(more, within=20)


async def _made_anew(fleet: Containers, engine: Engine) -> Engine:
    """Wait until there is another container for it, and that is well."""

    async def another() -> bool:
        return (await fleet.row(engine)).container_id != engine.container_id

    await eventually(another, within=40)
    return await fleet.well(engine)


def _image_that_ends() -> str:
    """An image whose Engine ends at once."""
    name = "september-engine:bad"
    made = docker("create", "--entrypoint", "false", IMAGE)
    docker("commit", "--change", 'CMD ["false"]', made, name)
    docker("rm", "-v", made)
    return name
