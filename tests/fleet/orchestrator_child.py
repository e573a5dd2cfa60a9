"""A whole orchestrator as a process of its own, whose Engines are toys; settings as usual."""

import os
import sys
from pathlib import Path
from uuid import UUID

from september.config import FleetConfig, load_fleet_config
from september.fleet.backends.backend import Backend
from september.fleet.backends.subprocess import SubprocessBackend
from september.http.orchestrator import serve

from .crash_child import TOY


def _toys(config: FleetConfig, fleet: UUID) -> Backend:
    return SubprocessBackend(config.orch_data_dir / "engines", {}, program=TOY)


def _announce(url: str) -> None:
    print(url, flush=True)  # noqa: T201  the parent reads it


if __name__ == "__main__":
    serve.make_backend = _toys  # type: ignore[attr-defined]  # replaced from outside
    config = load_fleet_config(os.environ, Path("no.env"))
    sys.exit(serve.run_orchestrator(config, on_ready=_announce))
