"""The fleet's figures: ten thousand Engines on the fake backend and a real PostgreSQL.

    .venv/bin/python -m bench.fleet [--engines 10000] [--processes 5]

Boot to ready, memory of an Engine's actor, one round of probes, admits per second beside a bare
handler of the same server with one SELECT, in turns. Everything is recorded, as in production.
Then real Engines as processes: provision to healthy, wake to healthy, memory when idle.
"""

import argparse
import os
import resource
import shutil
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median
from uuid import uuid4

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from september.actors import Trace
from september.config import FleetConfig, Secret
from september.fleet import registry
from september.fleet.backends.backend import EngineSpec, Presence
from september.fleet.backends.fake import FakeBackend, FakeClient, FakeEngine, World
from september.fleet.backends.process import processes_in
from september.fleet.backends.subprocess import SubprocessBackend
from september.fleet.discovery import Admission, Admit
from september.fleet.engine_client import open_client
from september.fleet.instances import Engine, Operation, Product
from september.fleet.keys import Vault, new_platform_key, sha256_of
from september.fleet.managed import Perform
from september.fleet.rounds import GoRound
from september.fleet.store.database import Database, Session, event_loop
from september.fleet.store.embedded import Cluster, binaries
from september.fleet.store.migrate import migrate
from september.fleet.tree import Fleet, Pace, running_fleet
from september.http.asgi import AsgiApp
from september.http.orchestrator.app import orchestrator_app
from september.http.orchestrator.desk import Desk
from september.http.server import ServerTimes, Shutdown, bind, serve
from september.logs import configure_logs
from september.traces.keeper import Flush

MASTER = "YSBtYXN0ZXIga2V5IGZvciB0ZXN0cyBvZiAzMiBieS4="
ADMITS = 1500
ROUNDS = 3
CLIENTS = 20
IDLE_S = 3.0


def rss() -> int:
    """Resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def fill(database: Database, count: int, key: str) -> tuple[Product, World]:
    """Rows of running Engines, and the instances that they speak of."""
    product, world = Product(uuid4(), "bench", "Bench", {}), World()
    sealed = Vault([MASTER]).new_engine_key()
    ids = [uuid4() for _ in range(count)]

    async def work(session: Session) -> None:
        await registry.insert_product(session, product, sha256_of(key))
        await session.execute(
            "INSERT INTO engines (id, product_id, user_id, status, image, url, engine_key_hash,"
            " engine_key_enc) SELECT id, $2, 'u' || n, 'running', 'e:1', 'fake://' || id, $3, $4"
            " FROM unnest($1::uuid[]) WITH ORDINALITY AS t (id, n)",
            ids,
            product.id,
            sealed.hash,
            sealed.sealed,
        )
        await session.execute(
            "INSERT INTO port_allocations (port, engine_id)"
            " SELECT 10000 + n, id FROM unnest($1::uuid[]) WITH ORDINALITY AS t (id, n)",
            ids,
        )

    await database.write(work)
    for number, engine_id in enumerate(ids):
        spec = EngineSpec(engine_id, 1, "e:1", 10001 + number, {})
        world.engines[engine_id] = FakeEngine(spec, Presence.RUNNING, sealed.hash)
    return product, world


async def measure(url: str, engines: int) -> None:
    """Print every figure."""
    key = new_platform_key().reveal()
    config = FleetConfig(
        orch_database_url=Secret(url),
        orch_master_key=Secret(MASTER),
        orch_admin_key=Secret("a"),
        orch_port_max=65535,
        orch_health_check_interval_s=3600,
        orch_reconcile_interval_s=3600,
    )
    database = Database(url)
    async with database.dedicated(lambda: None) as connection:
        await migrate(connection)
    await database.open()
    _, world = await fill(database, engines, key)
    before, cpu, began = rss(), time.process_time(), time.perf_counter()
    backend = FakeBackend(world)
    client, trace = FakeClient(world), Trace()
    async with running_fleet(
        config, lambda _: backend, client, trace=trace, pace=Pace(spread=0, grace=0)
    ) as fleet:
        await fleet.reconcile.call(GoRound())
        say("boot to an actor for each Engine", time.perf_counter() - began, "s")
        say("  of which CPU", time.process_time() - cpu, "s")
        say("memory for each Engine", (rss() - before) / engines / 1024, "KiB")
        cpu, began = time.process_time(), time.perf_counter()
        await fleet.prober.call(GoRound())
        say("one round of probes", time.perf_counter() - began, "s")
        say("  of which CPU", time.process_time() - cpu, "s")
        app, ratios = orchestrator_app(Desk(fleet), trace), list[float]()
        for _ in range(ROUNDS):
            asked = {"X-Platform-Key": key}
            admits = await load(app, "POST", "/engines/u{n}/admit", asked, engines)
            ratios.append(admits / await load(bare_app(database), "GET", "/{n}", {}, engines))
        say("admits at a bare handler's rate, median", median(ratios), "of it")
        losses = await fleet.trace.call(Flush())
        say("observations that were not recorded", losses.overload + losses.store, "")
    await database.write(forget)
    await database.close()


async def forget(session: Session) -> None:
    """Remove every row of the fleet, so that nobody misses their Engines."""
    await session.execute("DELETE FROM products")


async def measure_processes(url: str, count: int, folder: Path) -> None:
    """Print the figures of real Engines that are processes of this host."""
    env = {"LLM_PROVIDER": Secret("scripted"), "ENGINE_LOG_LEVEL": Secret("WARNING")}
    config = FleetConfig(
        orch_database_url=Secret(url),
        orch_master_key=Secret(MASTER),
        orch_admin_key=Secret("a"),
        orch_port_min=42001,
        orch_port_max=42999,
        orch_health_check_interval_s=3600,
        orch_reconcile_interval_s=3600,
    )
    backend = SubprocessBackend(folder, env)
    product = Product(uuid4(), "processes", "Processes", {})
    async with open_client() as client:
        async with running_fleet(config, lambda _: backend, client, trace=Trace()) as fleet:
            insert = partial(registry.insert_product, product=product, key_hash="h")
            await fleet.resources.database.write(insert)
            provisions, wakes = list[float](), list[float]()
            engines = [await timed(fleet, provisions, product, n) for n in range(count)]
            booted = [computed(folder / engine.id.hex) for engine in engines]
            await trio.sleep(IDLE_S)
            idle = [pss(folder / engine.id.hex) for engine in engines]
            for number, engine in enumerate(engines):
                sleep = Perform(Operation.SLEEP, "bench")
                await fleet.roster.row(engine.id, sleep)
                await timed(fleet, wakes, product, number)
            say("provision to healthy, median of processes", median(provisions), "s")
            say("  of which CPU of the Engine", median(booted), "s")
            say("wake to healthy, median", median(wakes), "s")
            say("PSS of an idle Engine, median", median(idle) / 2**20, "MiB")
            for engine in engines:
                await fleet.roster.ask(engine.id, Perform(Operation.DESTROY, "bench"))


async def timed(fleet: Fleet, seconds: list[float], product: Product, number: int) -> Engine:
    """Admit a user, making or waking the Engine, and note how long it took."""
    began = time.perf_counter()
    answer = await fleet.discovery.call(Admit(product, f"u{number}", True, True))
    seconds.append(time.perf_counter() - began)
    assert isinstance(answer, Admission) and answer.engine is not None, answer
    return answer.engine


def computed(folder: Path) -> float:
    """Seconds that the process that works in `folder` has computed (proc(5): utime, stime)."""
    (process,) = processes_in(folder)
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss(folder: Path) -> int:
    """Proportional memory of the process that works in `folder`, in bytes."""
    (process,) = processes_in(folder)
    rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    (line,) = (one for one in rollup.splitlines() if one.startswith("Pss:"))
    return int(line.split()[1]) * 1024


def bare_app(database: Database) -> AsgiApp:
    """One SELECT by primary key, and a JSON answer."""

    async def one(session: Session) -> object:
        return await session.value("SELECT slug FROM products LIMIT 1")

    async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        slug = await database.read(one)
        body = b'{"slug":"%b"}' % str(slug).encode()
        length = str(len(body)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return app


async def load(app: AsgiApp, method: str, path: str, headers: dict[str, str], users: int) -> float:
    """Serve `app`, ask it from another process, print and return requests per second."""
    shutdown = Shutdown()
    async with trio.open_nursery() as nursery:
        times, listener = ServerTimes(drain=1, close=1), bind("127.0.0.1", 0)
        running = partial(
            serve, app, listener, shutdown, drain=trio.lowlevel.checkpoint, times=times
        )
        url = await nursery.start(running)
        program = [sys.executable, "-m", "bench.fleet", "--load", url, method, path]
        arguments = [*program, str(users), *(f"{k}: {v}" for k, v in headers.items())]
        ended = await trio.run_process(arguments, capture_stdout=True)
        shutdown.request()
    rate, p50, p99 = map(float, ended.stdout.split())
    say(f"{method} {path}", rate, f"/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    return rate


async def attack(url: str, method: str, path: str, users: int, headers: list[str]) -> None:
    """Ask over kept connections and print rate, p50 and p99."""
    host, port = url.removeprefix("http://").split(":")
    taken: list[float] = []
    fields = "".join(f"{field}\r\n" for field in headers)

    async def client(share: int) -> None:
        stream = await trio.open_tcp_stream(host, int(port))
        for number in range(share):
            target = path.replace("{n}", str(1 + (number * 7919) % users))
            request = f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n{fields}\r\n"
            began = time.perf_counter()
            await stream.send_all(request.encode())
            answer = b""
            while not answer.endswith(b"}"):
                answer += await stream.receive_some()
            assert answer.startswith(b"HTTP/1.1 200"), answer
            taken.append(time.perf_counter() - began)

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(CLIENTS):
            nursery.start_soon(client, ADMITS // CLIENTS)
    seconds = time.perf_counter() - began
    taken.sort()
    p50, p99 = taken[len(taken) // 2], taken[int(len(taken) * 0.99)]
    print(len(taken) / seconds, p50 * 1000, p99 * 1000)


def say(what: str, value: float, unit: str) -> None:
    """Print one figure."""
    print(f"{what:40} {value:10.2f} {unit}", flush=True)


async def _main(cluster: Cluster, engines: int, processes: int) -> None:
    configure_logs("WARNING")
    async with event_loop():
        if engines:
            await measure(cluster.url, engines)
        if processes:
            await measure_processes(cluster.url, processes, cluster.folder.parent / "engines")


def main() -> None:
    if sys.argv[1:2] == ["--load"]:
        url, method, path, users, *headers = sys.argv[2:]
        trio.run(attack, url, method, path, int(users), headers)
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=5)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    folder.chmod(0o755)
    cluster = Cluster(folder / "c", binaries())
    cluster.start()
    try:
        trio.run(_main, cluster, given.engines, given.processes)
    finally:
        cluster.stop("immediate")
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
