"""The server: a socket bound, hypercorn beside the actor tree, and an orderly end.

Shutdown goes serving -> draining (new turns are refused, running ones finish, /health says so)
-> closing (hypercorn ends what is left) -> over. A second Ctrl-C skips to the end.
"""

import errno
import logging
import signal
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.run import worker_serve
from msgspec import Struct

from ..errors import ConfigError
from ..logs import get_logger
from . import hypercorn_fixes
from .asgi import AsgiApp

_log = get_logger("september.http.server")

PING_S: Final = 20.0
"""Between two pings on a WebSocket: a client that is gone is noticed."""

BACKLOG: Final = 256


class ServerTimes(Struct, frozen=True):
    """How long things may take, in seconds.

    `drain` is what running turns get at shutdown, `close` what open connections get after that;
    `keep_alive` is how long a connection may wait for its next request.
    """

    drain: float = 30.0
    close: float = 2.0
    keep_alive: float = 75.0


class Shutdown:
    """Whether the server is to stop, and how urgently."""

    def __init__(self) -> None:
        self._requested = trio.Event()
        self._forced = trio.Event()

    @property
    def requested(self) -> bool:
        """Whether a shutdown has begun."""
        return self._requested.is_set()

    def request(self) -> None:
        """Begin to stop; a repetition changes nothing."""
        self._requested.set()

    def force(self) -> None:
        """Stop now."""
        self._requested.set()
        self._forced.set()

    async def wait_requested(self) -> None:
        """Return when a shutdown begins."""
        await self._requested.wait()

    async def wait_forced(self) -> None:
        """Return when there is no time left."""
        await self._forced.wait()


async def watch_signals(
    shutdown: Shutdown, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Turn SIGTERM and SIGINT into a shutdown, and a SIGINT during one into a forced end.

    A repeated SIGTERM is no hurry: process managers send it to a group and to its leader.
    """
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as arrivals:
        task_status.started()
        async for number in arrivals:
            if shutdown.requested and number == signal.SIGINT:
                _log.warning("stopping at once", signal=signal.Signals(number).name)
                shutdown.force()
                return
            _log.info("shutting down", signal=signal.Signals(number).name)
            shutdown.request()


def bind(host: str, port: int, *, service: str = "ENGINE") -> socket.socket:
    """Bind and listen. Port 0 takes any free one.

    Raises ConfigError, naming ENGINE_HOST or ENGINE_PORT (or those of `service`) and the remedy.
    """
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        what = f"{host!r} is not an address: {error.strerror}"
        raise ConfigError(f"{service}_HOST", what) from error
    family, kind, protocol, _, where = address[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _unbound(service, host, port, error) from error
    return listener


def _unbound(service: str, host: str, port: int, error: OSError) -> ConfigError:
    match error.errno:
        case errno.EADDRINUSE:
            reason = f"port {port} on {host} is taken; stop what listens there or set another port"
            return ConfigError(f"{service}_PORT", reason)
        case errno.EACCES:
            reason = f"port {port} needs privileges; set a port above 1023"
            return ConfigError(f"{service}_PORT", reason)
        case _:
            reason = f"cannot listen on {host}: {error.strerror}; set an address of this machine"
            return ConfigError(f"{service}_HOST", reason)


def address(listener: socket.socket) -> str:
    """The URL of a bound socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve(
    app: AsgiApp,
    listener: socket.socket,
    shutdown: Shutdown,
    *,
    drain: Callable[[], Awaitable[None]],
    times: ServerTimes | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `shutdown`; starts with the URL, returns when every connection is closed.

    `drain` is awaited first, while connections are still accepted and answered, so that a
    client learns that the Engine is going away, rather than that nobody listens. The listener
    is closed on return.
    """
    times = times or ServerTimes()
    url = address(listener)
    closing = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_in_order, shutdown, drain, times.drain, closing)
        nursery.start_soon(_stop_at_once, shutdown, nursery.cancel_scope)
        run = partial(_run_hypercorn, app, _config(listener, times), closing)
        await nursery.start(run, nursery.cancel_scope)
        task_status.started(url)
        _log.info("listening", url=url)


async def _run_hypercorn(
    app: AsgiApp,
    config: Config,
    closing: trio.Event,
    beside: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    wrapped = ASGIWrapper(app)
    await worker_serve(wrapped, config, shutdown_trigger=closing.wait, task_status=task_status)
    beside.cancel(reason="every connection is closed")


async def _stop_in_order(
    shutdown: Shutdown,
    drain: Callable[[], Awaitable[None]],
    drain_timeout: float,
    closing: trio.Event,
) -> None:
    await shutdown.wait_requested()
    with trio.move_on_after(drain_timeout) as limit:
        await drain()
    if limit.cancelled_caught:
        _log.warning("turns cut short by the shutdown", drain_timeout_s=drain_timeout)
    closing.set()


async def _stop_at_once(shutdown: Shutdown, everything: trio.CancelScope) -> None:
    await shutdown.wait_forced()
    everything.cancel(reason="forced shutdown")


def _config(listener: socket.socket, times: ServerTimes) -> Config:
    hypercorn_fixes.install()
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.backlog = BACKLOG
    config.graceful_timeout = times.close
    config.keep_alive_timeout = times.keep_alive
    config.websocket_ping_interval = PING_S
    config.include_server_header = False
    config.accesslog = None  # the gate writes its own
    config.errorlog = logging.getLogger("hypercorn.error")
    return config
