"""Running an Engine: its actor tree and its HTTP server, side by side in one trio run."""

import gc
import sys
from collections.abc import Callable
from functools import partial

import trio

from ..actors import ActorError, Trace
from ..actors.errors import root_cause
from ..brain.catalog import load_catalog
from ..brain.security.secrets import SecretScrubber
from ..brain.tree import Engine, running_engine, secrets_of
from ..config import EngineConfig
from ..errors import ConfigError, SeptemberError
from ..logs import configure_logs, get_logger
from .app import engine_app, load_late
from .auth import KeyRing
from .bridge import EngineBridge
from .endpoint import HttpSettings
from .keys import load_keys
from .server import ServerTimes, Shutdown, bind, serve, watch_signals
from .switching import let_threads_in

_log = get_logger("september.engine")

CLOSING_S = 6.0
"""What closing the turns that a drain cut short may take on top of it."""


def run_engine(config: EngineConfig, *, on_ready: Callable[[str], None] | None = None) -> int:
    """Run an Engine until SIGTERM or SIGINT; `on_ready` gets its URL. Returns the exit code.

    0 after an orderly end, 1 when the Engine failed, 2 when it could not start as configured;
    what went wrong is on stderr, in a line that says what to do.
    """
    configure_logs(config.engine_log_level, redact=SecretScrubber(secrets_of(config)).scrub)
    try:
        trio.run(_serve_engine, config, on_ready)
    except (Exception, BaseExceptionGroup) as error:
        return _report(_why(error))
    return 0


async def _serve_engine(config: EngineConfig, on_ready: Callable[[str], None] | None) -> None:
    catalog = load_catalog(config.catalog_dir, hooks=config.hooks_settings_load_enabled)
    listener = bind(config.engine_host, config.engine_port)
    shutdown = Shutdown()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(watch_signals, shutdown))
        trace = Trace(keep=0)  # the recorder keeps it
        async with running_engine(config, catalog, trace=trace) as engine:
            configure_logs(config.engine_log_level, redact=engine.scrubber.scrub)
            bridge = EngineBridge(engine)
            app = engine_app(bridge, await _keys(engine), http_settings(config), trace=trace)
            async with trio.open_nursery() as serving:
                times = ServerTimes(drain=config.drain_timeout_s + CLOSING_S)
                serving_app = partial(
                    serve, app, listener, shutdown, drain=bridge.drain, times=times
                )
                _ready(await serving.start(serving_app), on_ready)
                await trio.to_thread.run_sync(load_late, abandon_on_cancel=True)
        nursery.cancel_scope.cancel(reason="the Engine has ended")


def _ready(url: str, on_ready: Callable[[str], None] | None) -> None:
    gc.freeze()  # what boot made lives as long as the process: no collection need look at it
    let_threads_in()
    _log.info("engine ready", url=url)
    if on_ready is not None:
        on_ready(url)


async def _keys(engine: Engine) -> KeyRing:
    configured = engine.config.engine_key_hash
    assert configured is not None  # load_engine_config has refused a config without
    return KeyRing.restore(configured.reveal(), await load_keys(engine.database))


def http_settings(config: EngineConfig) -> HttpSettings:
    """What of the configuration concerns HTTP."""
    return HttpSettings(
        cors_origins=config.cors_origins,
        max_body_bytes=config.max_body_bytes,
        media_max_body_bytes=config.media_max_body_bytes,
        import_max_body_bytes=config.import_max_body_bytes,
        min_overlap_seconds=config.bap_key_rotation_min_overlap_seconds,
        max_overlap_seconds=config.bap_key_rotation_max_overlap_seconds,
    )


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
    _log.error("engine failed", exc_info=error)
    sys.stderr.write(f"september: the Engine failed: {type(error).__name__}: {error}\n")
    return 1
