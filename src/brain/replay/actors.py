"""An actor of the Engine again, in the Engine's own tree, of which nobody else is started."""

import os
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import trio

from ...config import load_engine_config
from ...traces.life import Life
from ...traces.replay import Replay, replay
from ..catalog import load_catalog
from ..clock import other_clock
from ..tree import EngineSpecs

_KEYS: Final = ("ENGINE_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY")
"""Needed to make the tree; nobody uses them."""


async def replay_actor(
    life: Life,
    env: Mapping[str, str] | None = None,
    dotenv: Path | None = None,
    *,
    as_kept: bool = False,
) -> Replay:
    """Replay with the code and the settings of here and now, in a thread with a time of its own.

    Raises INVALID_REQUEST for an actor that cannot be replayed.
    """
    with tempfile.TemporaryDirectory(prefix="replay-") as folder:
        work = partial(_replay, life, env if env is not None else os.environ, dotenv, folder)
        return await trio.to_thread.run_sync(partial(work, as_kept=as_kept))


def _replay(
    life: Life, env: Mapping[str, str], dotenv: Path | None, folder: str, *, as_kept: bool
) -> Replay:
    brain = {"SQLITE_DB_PATH": f"{folder}/brain.sqlite"}
    config = load_engine_config({**dict.fromkeys(_KEYS, "replay"), **env, **brain}, dotenv)
    specs = EngineSpecs(config, load_catalog(config.catalog_dir))
    return replay(life, specs.root(), other_clock, as_kept=as_kept)
