"""The server's life: bound or clearly refused, drained on a signal, ended by a second one."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator

import pytest
import trio
import trio.testing

from september.errors import ConfigError
from september.http.server import ServerTimes, Shutdown, address, bind, watch_signals

from .conftest import serving
from .fake_engine import FakeEngine, sse

EXECUTE = {"task_id": "t", "message": "x"}


def test_a_taken_port_is_named_with_the_remedy() -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"ENGINE_PORT: port {port} on 127.0.0.1 is taken"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no such host", "203.0.113.7"])
def test_an_address_that_is_not_ours_is_named(host: str) -> None:
    with pytest.raises(ConfigError, match="ENGINE_HOST"):
        bind(host, 0)


def test_a_port_can_be_bound_again_at_once() -> None:
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = first.accept()
            accepted.close()
            client.recv(1)
    with bind("127.0.0.1", port) as again:
        assert address(again) == f"http://127.0.0.1:{port}"


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_an_ipv6_address_is_written_in_brackets() -> None:
    try:
        listener = bind("::1", 0)
    except ConfigError:
        pytest.skip("no IPv6 loopback on this machine")
    with listener:
        assert address(listener).startswith("http://[::1]:")


async def test_a_shutdown_lets_the_running_turn_finish() -> None:
    may_end = trio.Event()

    async def patient() -> AsyncGenerator[bytes, None]:
        yield sse(1)
        await may_end.wait()
        yield sse(2)

    engine = FakeEngine(chunks=patient, drained=may_end)
    received: list[bytes] = []
    async with serving(engine) as served, served.client() as client:

        async def run_turn() -> None:
            async with client.stream("POST", "/execute", json=EXECUTE) as response:
                received.extend([data async for data in response.aiter_bytes()])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_turn)
            await engine.entered.wait()
            served.shutdown.request()
            while not engine.draining:
                await trio.lowlevel.checkpoint()
            async with served.client(None) as prober:
                assert (await prober.get("/health")).status_code == 503
            may_end.set()
        with trio.fail_after(0.5):
            await served.stopped.wait()
    assert b"".join(received) == sse(1) + sse(2)


async def test_a_turn_that_does_not_finish_is_cut_after_the_time_to_drain() -> None:
    async def silent() -> AsyncGenerator[bytes, None]:
        yield sse(1)
        await trio.sleep_forever()

    engine = FakeEngine(chunks=silent, drained=trio.Event())
    async with serving(engine, times=ServerTimes(drain=0.2, close=0.2)) as served:
        stream = await served.connect()
        body = b'{"task_id":"t","message":"x"}'
        await stream.send_all(
            b"POST /execute HTTP/1.1\r\nHost: x\r\nX-Engine-Key: test-key\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        await engine.entered.wait()
        served.shutdown.request()
        with trio.fail_after(2):
            await served.stopped.wait()
        await stream.aclose()
    assert engine.open_streams == 0


async def test_a_forced_shutdown_waits_for_nothing() -> None:
    engine = FakeEngine(drained=trio.Event())
    async with serving(engine, times=ServerTimes(drain=60, close=60)) as served:
        served.shutdown.request()
        await trio.testing.wait_all_tasks_blocked()
        served.shutdown.force()
        with trio.fail_after(0.5):
            await served.stopped.wait()


async def test_a_signal_requests_a_shutdown_and_only_a_second_sigint_forces_it() -> None:
    shutdown = Shutdown()
    async with trio.open_nursery() as nursery:
        await nursery.start(watch_signals, shutdown)
        os.kill(os.getpid(), signal.SIGTERM)
        await shutdown.wait_requested()
        os.kill(os.getpid(), signal.SIGTERM)
        with trio.move_on_after(0.05) as patience:
            await shutdown.wait_forced()
        assert patience.cancelled_caught
        os.kill(os.getpid(), signal.SIGINT)
        with trio.fail_after(1):
            await shutdown.wait_forced()


LIGHT = """
import sys, time
began = time.perf_counter()
import september.http.app, september.http.server, september.logs
took = time.perf_counter() - began
heavy = {"anthropic", "openai", "google.genai", "pydantic", "numpy", "tokenizers"}
heavy &= set(sys.modules)
sys.stdout.write(f"{took:.3f} {sorted(heavy)}")
"""


def test_importing_the_server_is_quick_and_pulls_in_nothing_heavy() -> None:
    found = subprocess.run(
        [sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True, cwd="/"
    )
    took, _, heavy = found.stdout.partition(" ")
    assert heavy == "[]"
    assert float(took) < 2.0
