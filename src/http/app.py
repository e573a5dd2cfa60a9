"""The Engine's HTTP app: a gate, a lane for streams, and Quart for everything else."""

import re
from collections.abc import Callable
from functools import partial
from typing import Final

from ..actors import Trace
from .asgi import AsgiApp, LateApp
from .auth import KeyRing
from .cors import Cors
from .door import EngineDoor
from .endpoint import AnyEndpoint, HttpSettings, Service
from .gate import Gate
from .metrics_port import MetricsPort
from .port import EnginePort
from .routes import (
    actors,
    admin,
    agents,
    assets,
    conversations,
    execute,
    feedback,
    health,
    hitl,
    learning,
    memory,
    metrics,
    observability,
    observe,
    permissions,
    rpc,
    skills,
    traces,
)
from .routes.docs import with_documentation
from .sse import StreamLane
from .visit import Visit

ENDPOINTS: Final[tuple[AnyEndpoint, ...]] = with_documentation(
    (
        *execute.ENDPOINTS,
        *hitl.ENDPOINTS,
        *permissions.ENDPOINTS,
        *conversations.ENDPOINTS,
        *feedback.ENDPOINTS,
        *memory.ENDPOINTS,
        *skills.ENDPOINTS,
        *learning.ENDPOINTS,
        *rpc.ENDPOINTS,
        *traces.ENDPOINTS,
        *observe.ENDPOINTS,
        *observability.ENDPOINTS,
        *agents.ENDPOINTS,
        *assets.ENDPOINTS,
        *health.ENDPOINTS,
        *metrics.ENDPOINTS,
        *admin.ENDPOINTS,
        *actors.ENDPOINTS,
    )
)
"""Everything the Engine answers to."""


def engine_app(
    engine: EnginePort,
    keys: KeyRing,
    settings: HttpSettings | None = None,
    endpoints: tuple[AnyEndpoint, ...] = ENDPOINTS,
    trace: Trace | None = None,
) -> Gate:
    """The ASGI app of one Engine: gate, then streams, then Quart. `trace` gets each request."""
    settings = settings or HttpSettings()
    service = Service(engine, keys, settings)
    with_media = max(settings.max_body_bytes, settings.media_max_body_bytes)
    late = LateApp(lambda: load_late()(service, endpoints))
    lane = StreamLane(late, service, endpoints)
    return Gate(
        lane,
        EngineDoor(keys),
        Cors(settings.cors_origins),
        max_body_bytes=settings.max_body_bytes,
        larger={
            "/execute": with_media,
            "/hitl/respond": with_media,
            "/memory/import": max(settings.max_body_bytes, settings.import_max_body_bytes),
        },
        trace=trace,
        meter=partial(_count, engine.metrics),
    )


_CODE: Final = re.compile(r'"error":"([A-Z_]+)"')


def _count(metrics: MetricsPort, visit: Visit) -> None:
    refusal = _CODE.search(visit.refusal)
    metrics.count_request(
        visit.method, visit.route, visit.status or 0, visit.seconds, refusal[1] if refusal else ""
    )


def load_late() -> Callable[[Service, tuple[AnyEndpoint, ...]], AsgiApp]:
    """What makes Quart's part of the app. An Engine is ready without it, so it is loaded late."""
    from .routed import routed

    return routed
