"""Running an orchestrator: its actor tree and its HTTP server, side by side in one trio run."""

import gc
import sys
from collections.abc import Callable
from functools import partial

import trio

from ...actors import ActorError, Trace
from ...actors.errors import root_cause
from ...config import FleetConfig
from ...errors import ConfigError, SeptemberError
from ...fleet import registry
from ...fleet.audit import SYSTEM
from ...fleet.backends.choice import make_backend
from ...fleet.engine_client import open_client
from ...fleet.instances import Operation, Status
from ...fleet.managed import Perform
from ...fleet.redaction import scrubber
from ...fleet.store.database import event_loop
from ...fleet.tree import Fleet, running_fleet
from ...logs import configure_logs, get_logger
from ..server import ServerTimes, Shutdown, bind, serve, watch_signals
from ..switching import let_threads_in
from .app import orchestrator_app
from .desk import Desk

_log = get_logger("september.orchestrator")


def run_orchestrator(
    config: FleetConfig,
    *,
    on_ready: Callable[[str], None] | None = None,
    stop_engines: bool = False,
) -> int:
    """Run an orchestrator until SIGTERM or SIGINT; `on_ready` gets its URL. Returns the exit code.

    0 after an orderly end, 1 when it failed, 2 when it could not start as configured; what went
    wrong is on stderr, in a line that says what to do. The Engines go on without it, unless with
    `stop_engines`.
    """
    configure_logs(config.orch_log_level, redact=scrubber(config))
    try:
        trio.run(_serve, config, on_ready, stop_engines)
    except (Exception, BaseExceptionGroup) as error:
        return _report(_why(error))
    return 0


async def _serve(
    config: FleetConfig, on_ready: Callable[[str], None] | None, stop_engines: bool
) -> None:
    listener = bind(config.orch_host, config.orch_port, service="ORCH")
    shutdown, trace = Shutdown(), Trace(keep=0)  # the recorder keeps it
    make = partial(make_backend, config)
    async with (
        trio.open_nursery() as nursery,
        event_loop(),
        open_client() as client,
    ):
        await nursery.start(partial(watch_signals, shutdown))
        async with running_fleet(config, make, client, trace=trace) as fleet:
            app = orchestrator_app(Desk(fleet), trace)
            async with trio.open_nursery() as serving:
                times = ServerTimes(drain=0.1)
                url = await serving.start(
                    partial(serve, app, listener, shutdown, drain=_nothing, times=times)
                )
                gc.freeze()  # what boot made lives as long as the process
                let_threads_in()
                _log.info("orchestrator ready", url=url)
                if on_ready is not None:
                    on_ready(url)
            if stop_engines:
                await _stop_engines(fleet)
        nursery.cancel_scope.cancel(reason="the orchestrator has ended")


async def _stop_engines(fleet: Fleet) -> None:
    running = partial(registry.engines, status=Status.RUNNING)
    rows = await fleet.resources.database.read(running)
    stop = Perform(Operation.STOP, SYSTEM)
    await fleet.roster.tell_all((row.id, stop) for row in rows)


async def _nothing() -> None:
    """Requests that run are finished within the time to close; what they began goes on anyway."""


def _why(error: BaseException) -> BaseException:
    """The failure under what nurseries and supervisors wrap around it."""
    error = root_cause(error)
    while isinstance(error, ActorError) and isinstance(error.__cause__, Exception):
        error = root_cause(error.__cause__)
    return error


def _report(error: BaseException) -> int:
    if isinstance(error, SeptemberError):
        sys.stderr.write(f"september: {error.message}\n")
        return 2 if isinstance(error, ConfigError) or error.status == 503 else 1
    _log.error("orchestrator failed", exc_info=error)
    sys.stderr.write(f"september: the orchestrator failed: {type(error).__name__}: {error}\n")
    return 1
